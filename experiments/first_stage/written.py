"""A second query that a model writes, against names: `python -m experiments.first_stage.written DATA INDEXES MODEL`.

The model sees the question and the first passages that BM25 finds, as it does in training (`blend.second_round`), and
writes a query or "nothing". What it wrote is kept beside the indexes, so that a killed run goes on.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from experiments.first_stage.rounds import DEPTHS, MULTI_HOP, SINGLE_HOP, N, all_gold, difference, retriever_over
from experiments.first_stage.sets import Searched, load
from rankrag.data.files import Row
from rankrag.data.journal import Journal, content_key
from rankrag.generate import is_refusal
from rankrag.matching import normalise
from rankrag.models import LanguageModel, SamplingParams
from rankrag.opening import open_model
from rankrag.retrieval import Retriever
from rankrag.retrieval.rounds import NAMES, after_rounds, second_queries, unite
from rankrag.templates import NOTHING, second_query_prompt
from rankrag.types import Question, Ranking

SHOWN = 3
"""Passages that the model sees, as many as in configs/blend/base.yaml (`list_size`)."""

_ONE_LINE = SamplingParams(max_new_tokens=32, stop=("\n",))


def query_of(reply: str) -> str:
    """Return the query in a reply; "" if nothing is to be searched for."""
    words = reply.split()[:NAMES]
    return "" if is_refusal(reply) or normalise(reply) == NOTHING else " ".join(words)


def replies_of(model: str, shown: Mapping[str, Ranking], file: Path) -> Mapping[str, str]:
    """Return what the model writes for each question and the first passages that it found, by question."""
    keys = {question: content_key([question, [c.passage.id for c in ranking]]) for question, ranking in shown.items()}
    journal = Journal(file, lambda row: [(str(row["key"]), str(row["reply"]))])
    opened = cache(lambda: open_model(model, say=print))

    def write(batch: Mapping[str, tuple[str, Ranking]]) -> Iterator[Row]:
        ((key, (question, ranking)),) = batch.items()
        yield {"key": key, "question": question, "reply": written(opened(), question, ranking)}

    journal.fill({keys[question]: (question, ranking) for question, ranking in shown.items()}, write)
    return {question: journal[key] for question, key in keys.items()}


def written(model: LanguageModel, question: str, ranking: Ranking) -> str:
    """Return the model's reply to the prompt for a second query."""
    prompt = second_query_prompt(model.contract.format, Question("", question), [c.passage for c in ranking])
    (reply,) = model.generate(model.encode([prompt], reserve=_ONE_LINE.max_new_tokens), _ONE_LINE)
    return reply.strip()


def rows_of(searched: Searched, retriever: Retriever, model: str, file: Path) -> Iterator[dict[str, tuple[float, ...]]]:
    """Yield for each question, by way of searching, whether all gold passages are among the first, for each depth.

    `names` always searches again for names, and `auto` does so for open questions; `written` searches for what the
    model wrote, and `both` for both. `nothing` is 1 if it wrote that nothing is missing.
    """
    asked = [queries[0] for queries in searched.queries]
    first = {question: retriever.retrieve([question], N)[0] for question in asked}
    replies = replies_of(model, {question: found[:SHOWN] for question, found in first.items()}, file)
    for question, gold in zip(asked, searched.gold, strict=True):
        ids = frozenset(searched.passages[place].id for place in gold)
        again = {query: retriever.retrieve([query], N)[0] for query in second_queries(question, first[question])}
        query = query_of(replies[question])
        own = {query: retriever.retrieve([query], N)[0]} if query else {}
        found = {
            "one round": first[question],
            "names": unite(question, first[question], again, N).ranking,
            "auto": after_rounds(question, first[question], again, N, "auto").ranking,
            "written": unite(question, first[question], own, N).ranking,
            "both": unite(question, first[question], again | own, N).ranking,
        }
        yield {name: tuple(all_gold(r, ids).values()) for name, r in found.items()} | {"nothing": (float(not query),)}


def print_table(name: str, rows: Sequence[Mapping[str, tuple[float, ...]]]) -> None:
    """Print one line for each way of searching, with the difference from searching for names."""
    nothing = np.mean([row["nothing"][0] for row in rows])
    for way in ("one round", "names", "auto", "written", "both"):
        cells = [
            difference([row[way][place] for row in rows], [row["names"][place] for row in rows])
            for place in range(len(DEPTHS))
        ]
        print(f"| {name} | {len(rows)} | {nothing:.3f} | {way} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Print the table of the sets that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("indexes", type=Path)
    parser.add_argument("model")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--sets", default=",".join((*MULTI_HOP, *SINGLE_HOP)))
    parser.add_argument("--split", default="", help="`train` instead of dev")
    wanted = parser.parse_args()
    print(f"| set | questions | nothing | second query | {' | '.join(f'all-gold@{k}' for k in DEPTHS)} |")
    print("|---" * (4 + len(DEPTHS)) + "|")
    for name in wanted.sets.split(","):
        searched = load(wanted.data, name, split=wanted.split, questions=wanted.questions)
        retriever = retriever_over(searched, wanted.indexes / name, "bm25")
        file = wanted.indexes / f"{re.sub(r'[^A-Za-z0-9.-]', '_', wanted.model)}.written.jsonl"
        print_table(name, list(rows_of(searched, retriever, wanted.model, file)))


if __name__ == "__main__":
    main()
