"""Compare answers before and after training on own documents, as `rankrag ask --out` wrote them.

    python benchmarks/own_corpus.py examples/questions.jsonl before.jsonl after.jsonl

Only questions that both files answer are counted; differences are paired, with 95 % intervals.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rankrag.data.files import Row, read_rows
from rankrag.evaluation.metrics import exact_match, token_f1
from rankrag.evaluation.own_documents import SourcedQuestion, read_sourced_questions
from rankrag.evaluation.statistics import bootstrap_interval, paired_difference


def figures(example: SourcedQuestion, row: Row) -> dict[str, float]:
    if not example.question.answers:
        return {"unanswerable: refused": float(row["abstained"])}
    first = row["reranked"][0]["source"]["path"] if row["reranked"] else ""
    text = "" if row["abstained"] else row["text"]
    return {
        "R@1 after reranking (file)": float(Path(first).name in example.sources),
        "EM": exact_match(text, example.question.answers),
        "F1": token_f1(text, example.question.answers),
        "answerable: refused": float(row["abstained"]),
    }


def main(questions: str, *files: str) -> None:
    before, after = ({row["id"]: row for _, row in read_rows(Path(file))} for file in files)
    pairs: dict[str, list[tuple[float, float]]] = {}
    for example in read_sourced_questions(Path(questions)):
        name = example.question.id
        if name in before and name in after:
            old, new = figures(example, before[name]), figures(example, after[name])
            for metric in old:
                pairs.setdefault(metric, []).append((old[metric], new[metric]))
    print("| metric | questions | before | after | difference |\n|---|---|---|---|---|")
    for metric, values in pairs.items():
        old_values, new_values = zip(*values, strict=True)
        of = (bootstrap_interval(old_values), bootstrap_interval(new_values), paired_difference(new_values, old_values))
        print(f"| {metric} | {len(values)} | {' | '.join(map(str, of))} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
