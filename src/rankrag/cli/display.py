"""Printing an answer and its evidence in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from rankrag.citations import with_markers
from rankrag.cli.options import shown
from rankrag.types import Answer, Passage

_BAR = 10
_CLOSEST = 3
_CUT = "cut: its end was not read"


def print_evidence(answer: Answer) -> None:
    """Print the passages behind a streamed answer, and the time that each step took."""
    console = Console(highlight=False, soft_wrap=True)
    cited = list(dict.fromkeys(c.context for c in answer.citations))
    if cited:
        if len(answer.citations) > 1:
            console.print(Text(with_markers(answer.text, answer.citations), style="bold"))
        console.print()
        for place in cited:
            _print_passage(console, answer, place)
    elif answer.contexts:
        nothing = "No passage seems to hold the answer" if answer.abstained else "No passage supports the answer"
        console.print(Text(f"\n{nothing}; the closest are:\n", style="dim"))
        for place in range(min(_CLOSEST, len(answer.contexts))):
            _print_passage(console, answer, place)
    else:
        console.print(Text("\nThe index holds nothing that matches.\n", style="dim"))
    if answer.second_round:
        for query in answer.second_round.queries:
            console.print(Text(f"searched again for: {_shortened(query, 120)}", style="dim"))
    times = answer.timings
    steps = [f"retrieved {len(answer.retrieved)} in {times.retrieve:.2f} s"]
    if answer.relevance:
        use = answer.states
        known = f" ({use.found} of {use.wanted} known)" if use and use.found else ""
        steps.append(f"reranked in {times.rerank:.2f} s{known}")
    steps.append(f"answered in {times.generate:.2f} s")
    console.print(Text(" · ".join(steps), style="dim"))


def _print_passage(console: Console, answer: Answer, place: int) -> None:
    passage = answer.contexts[place].passage
    line = Text(f"[{place + 1}] ", style="bold cyan")
    line.append(_origin(passage), style="cyan")
    console.print(line)
    rank = 1 + next(i for i, c in enumerate(answer.retrieved) if c.passage.id == passage.id)
    relevance = answer.relevance.get(passage.id)
    if relevance is not None:
        filled = round(relevance * _BAR)
        line = Text("    relevant ")
        line.append("█" * filled, style="green")
        line.append("░" * (_BAR - filled), style="dim")
        line.append(f" {relevance:.2f}")
        again = answer.second_round and passage.id in answer.second_round.found
        line.append(f"   rank {rank}{' (second round)' if again else ''} → {place + 1}", style="dim")
        if passage.id in answer.truncated | answer.contexts_truncated:
            line.append(f"   {_CUT}", style="yellow")
        console.print(line)
    elif passage.id in answer.contexts_truncated:
        console.print(Text(f"    {_CUT}", style="yellow"))
    console.print(Padding(Text(_shortened(passage.text), style="dim"), (0, 0, 1, 4)), soft_wrap=False)


def _origin(passage: Passage) -> str:
    if passage.source is None:
        return passage.title or passage.id
    return shown(str(passage.source))


def _shortened(text: str, limit: int = 240) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[:limit].rsplit(" ", 1)[0] + " …"
