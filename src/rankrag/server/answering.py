"""A question's way through the server: the pipeline's own steps, each in the model's queue."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial

from rankrag.pipeline import RankRAG
from rankrag.rerank import Decision
from rankrag.retrieval.rounds import Retrieved
from rankrag.server.collections import shown_place
from rankrag.server.scheduler import Scheduler
from rankrag.server.work import Pair, Ticket
from rankrag.templates import UNANSWERABLE
from rankrag.types import Answer, Question, Ranking


@dataclass(frozen=True, slots=True)
class Asked:
    """A question for one collection; `documents` are ranked in place of what its index finds.

    `settled` says that a deadline ended judging before all candidates were judged.
    """

    question: Question
    pipeline: RankRAG
    documents: Ranking | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """What is known before the answer is written: the passages in their order, and whether one is relevant."""

    decision: Decision
    retrieved: Ranking
    settled: bool


async def answering(asked: Asked, scheduler: Scheduler, ticket: Ticket) -> AsyncIterator[Ranked | str | Answer]:
    """Yield what was found, then the answer's text in pieces, and at the end the whole `Answer`."""
    pipeline, question = asked.pipeline, asked.question
    started = time.perf_counter()
    if asked.documents is None:
        retrieved = await scheduler.call(partial(pipeline.retrieve, question), ticket)
    else:
        retrieved = Retrieved(asked.documents)
    after_retrieval, found = time.perf_counter(), retrieved.ranking
    pairs: list[Pair] = [(question, c.passage) for c in found]
    judged = pipeline.until_settled(await scheduler.judge(pairs, ticket, pipeline.is_settled))
    share = partial(pipeline.with_nearness, [(question, found)], [judged])
    (final,) = await scheduler.call(share, ticket)
    decision = pipeline.decide(found, final)
    after_rerank = time.perf_counter()
    yield Ranked(decision, found, len(judged) < len(found) and ticket.late)
    text, prompt = UNANSWERABLE, None
    if decision.withheld:
        yield text
    else:
        text, writing = "", scheduler.write(question, [c.passage for c in decision.contexts], ticket)
        async for piece in writing.read():
            text += piece
            yield piece
        prompt = writing.prompt
    times, states = (started, after_retrieval, after_rerank), ticket.states
    conclude = partial(pipeline.conclude, prompt=prompt, times=times, states=states)
    yield await scheduler.call(partial(conclude, question, retrieved, decision, text), ticket)


def sources_list(answer: Answer, links: Sequence[str]) -> str:
    """Return the cited passages as a Markdown list, for clients that show nothing but the text."""
    places = list(dict.fromkeys(c.context for c in answer.citations))
    if not places:
        return ""
    lines = [f"{n + 1}. [{shown_place(answer.contexts[n].passage) or 'passage'}]({links[n]})" for n in places]
    return "\n\n**Sources**\n\n" + "\n".join(lines)
