"""Questions in the form in which each set is published, one short reader each, as rows of docs/data.md.

A reader takes one published row, and what the set's companion file says by id; it returns our row, or None for a row
that is not part of the benchmark. Rows that have no id are numbered by who reads them. Passages that come with a row
are `candidates` (a choice, to be ordered) or `ranking` (a first stage, in its order).
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping
from typing import Any

from rankrag.data.files import Row
from rankrag.data.sets import Schema
from rankrag.errors import DataError
from rankrag.templates import UNANSWERABLE

Companion = Mapping[str, Any]

CHATRAG_TURNS = 7
"""Last messages of a conversation that are kept, the question among them (ChatRAG's scripts)."""

LONG_TAIL = 100
"""Monthly page views below which a question of PopQA is long tail (Self-RAG's subset)."""


def our_row(schema: Schema, row: Row, companion: Companion, where: str) -> Row | None:
    """Return a published row in our form, or None where it is not part of the set; `DataError` says what it lacks."""
    try:
        return row if schema == "rankrag" else READERS[schema](row, companion)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, SyntaxError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        found = ", ".join(sorted(row)) or "nothing"
        raise DataError(f"{where}: no row of {schema}: {what} (found: {found}); get the file anew") from None


def kilt(row: Row, _: Companion) -> Row:
    """KILT (facebook/kilt_tasks): every output with an `answer` is right; the others are provenance alone."""
    answers = [out["answer"] for out in row["output"] if out.get("answer")]
    return {"id": row["id"], "question": row["input"], "answers": list(dict.fromkeys(answers))}


def kilt_triviaqa(row: Row, questions: Companion) -> Row:
    """KILT's TriviaQA, which is published without its questions: they are TriviaQA's own, by id."""
    if row["input"]:
        return kilt(row, questions)
    if row["id"] not in questions:
        raise ValueError(f"question {row['id']!r} has no text and is not in the file of TriviaQA's questions")
    return kilt({**row, "input": questions[row["id"]]["question"]}, questions)


def dpr(row: Row, _: Companion) -> Row:
    """DPR's `*.qas.csv`: a question and a list of answers, written as Python writes it."""
    answers = row["answers"]
    return {
        "question": row["question"],
        "answers": ast.literal_eval(answers) if isinstance(answers, str) else answers,
    }


def nq_open(row: Row, _: Companion) -> Row:
    """google-research-datasets/nq_open: the same questions as DPR's test part of NQ."""
    return {"question": row["question"], "answers": row["answer"]}


def triviaqa(row: Row, _: Companion) -> Row:
    """mandarjoshi/trivia_qa, unfiltered.nocontext: all aliases of the answer are right."""
    answer = row["answer"]
    return {
        "id": row["question_id"],
        "question": row["question"],
        "answers": list(dict.fromkeys([answer["value"], *answer["aliases"]])),
    }


def popqa(row: Row, _: Companion) -> Row | None:
    """akariasai/PopQA's long tail, and Self-RAG's file, which holds nothing else and has `answers` for a list."""
    if "s_pop" in row and int(row["s_pop"]) >= LONG_TAIL:
        return None
    answers = row["answers"] if "answers" in row else row["possible_answers"]
    return {
        "id": str(row["id"]),
        "question": row["question"],
        "answers": json.loads(answers) if isinstance(answers, str) else answers,
    }


def wikimultihop(row: Row, _: Companion) -> Row:
    """xanhho/2WikiMultihopQA and the authors' release: one answer."""
    return {"id": row.get("_id", row.get("id")), "question": row["question"], "answers": [row["answer"]]}


def chatrag(row: Row, documents: Companion) -> Row:
    """nvidia/ChatRAG-Bench: the last 7 messages; chunks of the row's document, or passages retrieved beforehand.

    INSCIT's files hold the refusal among the answers; ChatRAG's scorer leaves it out, and so do we.
    """
    messages = row["messages"][-CHATRAG_TURNS:]
    if messages[-1]["role"] != "user":
        raise ValueError("the last message is not the user's")
    answers = row["answers"] if "answers" in row else [row["answer"]]
    if len(answers) > 1:
        answers = [answer for answer in answers if answer != UNANSWERABLE]
    found = {"question": messages[-1]["content"], "history": messages[:-1], "answers": answers}
    if not documents:
        return {"ranking": [{"title": c.get("title", ""), "text": c["text"]} for c in row["ctxs"]], **found}
    name, gold = row["document"], row["ground_truth_ctx"]["index"]
    chunks = [
        {"id": f"{name}/{place}", "title": "", "text": text, "label": int(place == gold)}
        for place, text in enumerate(documents[name])
    ]
    return {"candidates": chunks, **found}


def mirage(row: Row, _: Companion) -> Row:
    """MIRAGE's benchmark.json: lettered options and the letter that is right."""
    return {"id": row["id"], "question": row["question"], "options": row["options"], "label": row["answer"]}


def beir(row: Row, qrels: Companion) -> Row | None:
    """BEIR's queries.jsonl with a file of qrels; queries without a judgement are not part of the set."""
    grades = qrels.get(str(row["_id"]))
    if not grades:
        return None
    return {
        "id": str(row["_id"]),
        "question": row["text"],
        "positive_ids": [name for name, grade in grades.items() if grade > 0],
        "grades": grades,
    }


def flashrag(row: Row, _: Companion) -> Row:
    """RUC-NLPIR/FlashRAG_datasets: `golden_answers`, and a `metadata` that differs from set to set."""
    return {"id": str(row["id"]), "question": row["question"], "answers": row["golden_answers"]}


READERS: Mapping[Schema, Callable[[Row, Companion], Row | None]] = {
    "kilt": kilt,
    "kilt_triviaqa": kilt_triviaqa,
    "dpr": dpr,
    "nq_open": nq_open,
    "triviaqa": triviaqa,
    "popqa": popqa,
    "2wiki": wikimultihop,
    "chatrag": chatrag,
    "mirage": mirage,
    "beir": beir,
    "flashrag": flashrag,
}
