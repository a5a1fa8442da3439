"""Where a reply ends: at a stop string, without outer space, the same in whole texts and in streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def cut(text: str, stops: Sequence[str]) -> str:
    """Return the text before the first stop string in it."""
    return text[: min((found for stop in stops if (found := text.find(stop)) >= 0), default=len(text))]


def tidy(pieces: Iterator[str], stops: Sequence[str]) -> Iterator[str]:
    """Yield streamed text without outer space and stop strings; the beginning of a possible stop string waits."""
    held, started = "", False
    for piece in pieces:
        held += piece
        if not started:
            held = held.lstrip()
        started = started or bool(held)
        if cut(held, stops) != held:
            break
        keep = max((n for stop in stops for n in range(1, len(stop)) if held.endswith(stop[:n])), default=0)
        ready = held[: len(held) - keep].rstrip()
        if ready:
            yield ready
            held = held[len(ready) :]
    rest = cut(held, stops).rstrip()
    if rest:
        yield rest
