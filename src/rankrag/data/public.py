"""Public data sets in the form in which they are published, one short reader each, as rows of docs/data.md.

A reader takes a published row and what a second file of the set says by id (`Companion`), and yields our rows. It
raises `LeftOut` for a row that cannot be used. Passages that come with a row are `candidates` (a choice, still to be
ordered), `ranking` (a first stage, in order) or `contexts` (a document).

To add a form, write its reader here and add it to `_ALL`; if it is trained on, also to `config.blend.Reader`.
"""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rankrag.data import instructions
from rankrag.data.files import Located, OnBadRow, Row, located_rows, read_json
from rankrag.data.instructions import content_id
from rankrag.data.rows import Companion, LeftOut
from rankrag.data.runs import escaped, read_qrels
from rankrag.errors import DataError
from rankrag.matching import contains_any
from rankrag.templates import UNANSWERABLE

NO_ANSWER = "No Answer Present."
"""What MS MARCO has as the answer of a query that its passages do not answer."""

CHATRAG_TURNS = 7
"""Last messages of a conversation that are kept, the question among them (ChatRAG's scripts)."""

LONG_TAIL = 100
"""Monthly page views below which a question of PopQA is long tail (Self-RAG's subset)."""


def converted(
    form: str, rows: Iterable[Located], dropped: Counter[str], on_bad_row: OnBadRow, companion: Companion | None = None
) -> Iterator[Located]:
    """Yield published rows in our form, in their order; `dropped` counts those left out, by reason.

    `on_bad_row` hears of a row that lacks a field of its data set.
    """
    if form == "rankrag":
        yield from rows
        return
    for where, row in instructions.trees(rows) if form == "oasst" else rows:
        try:
            for found in READERS[form](row, companion or {}):
                yield where, found
        except LeftOut as reason:
            dropped[str(reason)] += 1
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, SyntaxError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            found_keys = ", ".join(sorted(row)) or "nothing"
            on_bad_row(DataError(f"{where}: no row of {form}: {what} (found: {found_keys}); get the file again"))


def companion_of(path: Path, form: str) -> Companion:
    """Return what a second file says by id: judgements, an object of documents, or rows by their `question_id`."""
    if form == "beir":
        return read_qrels(path)
    if path.suffix == ".json" and isinstance(found := read_json(path), dict):
        return found
    return {str(row.get("question_id")): row for _, row in located_rows(path)}


def chatqa(row: Row, _: Companion) -> Iterator[Row]:
    """nvidia/ChatQA-Training-Data: a conversation that ends before its answer, with a document, but for `sft`."""
    turns = [{"role": m["role"], "content": m["content"]} for m in row["messages"]]
    answers = [text for answer in row.get("answers") or [] for text in _texts(answer) if text.strip()]
    if turns and turns[-1]["role"] == "assistant":
        answers = answers or [turns[-1]["content"]]
        turns = turns[:-1]
    if not turns or not answers:
        raise LeftOut("no question with an answer")
    name = content_id("chatqa", row.get("document"), *(turn["content"] for turn in turns))
    if not row.get("document"):
        yield {"id": name, "messages": [*turns, {"role": "assistant", "content": answers[0]}]}
        return
    yield {
        "id": name,
        "question": turns[-1]["content"],
        "history": turns[:-1],
        "answers": answers,
        "contexts": [{"text": row["document"]}],
    }


def chatqa_ropes(row: Row, _: Companion) -> Iterator[Row]:
    """ROPES of ChatQA-Training-Data, less the rows that cannot be answered because their situation is missing."""
    for found in chatqa(row, _):
        if not contains_any(f"{row['document']} {found['question']}", found["answers"]):
            raise LeftOut("the answer is neither in the document nor in the question (the situation is missing)")
        yield found


def msmarco(row: Row, _: Companion) -> Iterator[Row]:
    """microsoft/ms_marco v1.1 and v2.1: a query, its answers and about ten passages, the used ones marked."""
    passages = row["passages"]
    pairs = list(zip(passages["passage_text"], passages["is_selected"], strict=True))
    if not any(label for _, label in pairs):
        raise LeftOut("no passage is selected")
    yield {
        "id": f"msmarco/{row['query_id']}",
        "query": row["query"].strip(),
        "answers": [a for a in row["answers"] if a != NO_ANSWER],
        "candidates": [{"text": text, "label": label} for text, label in pairs],
    }


def squad(row: Row, _: Companion) -> Iterator[Row]:
    """rajpurkar/squad and squad_v2: a question over a paragraph; in the second some have no answer."""
    yield {
        "id": row["id"],
        "question": row["question"].strip(),
        "answers": list(dict.fromkeys(row["answers"]["text"])),
        "contexts": [{"title": row["title"].replace("_", " "), "text": row["context"]}],
    }


def dpr(row: Row, _: Companion) -> Iterator[Row]:
    """DPR: `*.qas.csv` has a question and a list of answers as Python writes it; the retriever data has passages too.

    Of the passages come the best positive one and BM25's hard negatives.
    """
    answers = row["answers"]
    answers = ast.literal_eval(answers) if isinstance(answers, str) else list(answers)
    if "positive_ctxs" not in row:
        yield {"question": row["question"], "answers": answers}
        return
    if not row["positive_ctxs"]:
        raise LeftOut("no positive passage")
    labelled = [(row["positive_ctxs"][0], 1), *((found, 0) for found in row.get("hard_negative_ctxs") or [])]
    yield {
        "id": content_id("dpr", row["question"]),
        "question": row["question"],
        "answers": answers,
        "candidates": [
            {"id": f"dpr/{_passage_id(found)}", "title": found["title"], "text": found["text"], "label": label}
            for found, label in labelled
        ],
    }


def kilt(row: Row, _: Companion) -> Iterator[Row]:
    """KILT (facebook/kilt_tasks): every output with an `answer` is right; the others are provenance alone."""
    answers = [out["answer"] for out in row["output"] if out.get("answer")]
    yield {"id": row["id"], "question": row["input"], "answers": list(dict.fromkeys(answers))}


def kilt_triviaqa(row: Row, questions: Companion) -> Iterator[Row]:
    """KILT's TriviaQA, which is published without its questions: they are TriviaQA's own, by id."""
    if row["input"]:
        yield from kilt(row, questions)
        return
    if row["id"] not in questions:
        raise ValueError(f"question {row['id']!r} has no text and is not in the file of TriviaQA's questions")
    yield from kilt({**row, "input": questions[row["id"]]["question"]}, questions)


def nq_open(row: Row, _: Companion) -> Iterator[Row]:
    """google-research-datasets/nq_open: the same questions as DPR's test part of NQ."""
    yield {"question": row["question"], "answers": row["answer"]}


def triviaqa(row: Row, _: Companion) -> Iterator[Row]:
    """mandarjoshi/trivia_qa, unfiltered.nocontext: all aliases of the answer are right."""
    answer = row["answer"]
    yield {
        "id": row["question_id"],
        "question": row["question"],
        "answers": list(dict.fromkeys([answer["value"], *answer["aliases"]])),
    }


def popqa(row: Row, _: Companion) -> Iterator[Row]:
    """akariasai/PopQA's long tail, and Self-RAG's file, which holds nothing else and has `answers` for a list."""
    if "s_pop" in row and int(row["s_pop"]) >= LONG_TAIL:
        raise LeftOut("not long tail")
    answers = row["answers"] if "answers" in row else row["possible_answers"]
    yield {
        "id": str(row["id"]),
        "question": row["question"],
        "answers": json.loads(answers) if isinstance(answers, str) else answers,
    }


def wikimultihop(row: Row, _: Companion) -> Iterator[Row]:
    """xanhho/2WikiMultihopQA and the authors' release: one answer."""
    yield {"id": row.get("_id", row.get("id")), "question": row["question"], "answers": [row["answer"]]}


def chatrag(row: Row, documents: Companion) -> Iterator[Row]:
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
        yield {"ranking": [{"title": c.get("title", ""), "text": c["text"]} for c in row["ctxs"]], **found}
        return
    name, gold = row["document"], row["ground_truth_ctx"]["index"]
    chunks = [
        {"id": f"{name}/{place}", "title": "", "text": text, "label": int(place == gold)}
        for place, text in enumerate(documents[name])
    ]
    yield {"candidates": chunks, **found}


def mirage(row: Row, _: Companion) -> Iterator[Row]:
    """MIRAGE's benchmark.json: lettered options and the letter that is right."""
    yield {"id": row["id"], "question": row["question"], "options": row["options"], "label": row["answer"]}


def beir(row: Row, qrels: Companion) -> Iterator[Row]:
    """BEIR's queries.jsonl with a file of qrels; queries without a judgement are not part of the set."""
    name = str(row["_id"])
    grades = qrels.get(name) or qrels.get(escaped(name))
    if not grades:
        raise LeftOut("not judged")
    yield {
        "id": name,
        "question": row["text"],
        "positive_ids": [passage for passage, grade in grades.items() if grade > 0],
        "grades": grades,
    }


def flashrag(row: Row, _: Companion) -> Iterator[Row]:
    """RUC-NLPIR/FlashRAG_datasets: `golden_answers`, and a `metadata` that differs from set to set."""
    yield {"id": str(row["id"]), "question": row["question"], "answers": row["golden_answers"]}


_ALL = (
    *(beir, chatqa, chatqa_ropes, chatrag, dpr, flashrag, kilt, kilt_triviaqa, mirage, msmarco, nq_open, popqa, squad),
    *(triviaqa, instructions.dolly, instructions.eli5, instructions.flan, instructions.oasst, instructions.reading),
    *(instructions.self_instruct, instructions.soda, instructions.unnatural_instructions),
)

READERS: Mapping[str, Callable[[Row, Companion], Iterator[Row]]] = {
    "2wiki": wikimultihop,
    **{reader.__name__: reader for reader in _ALL},
}
"""The reader of each form, by its name in configurations."""


def _texts(answer: Any) -> list[str]:
    """Return the texts of an answer: itself, a list of alternatives, or SQuAD's object."""
    if isinstance(answer, dict):
        return _texts(answer["text"])
    return list(answer) if isinstance(answer, list) else [str(answer)]


def _passage_id(found: Row) -> str:
    return str(found.get("passage_id") or found.get("psg_id") or content_id("text", found["text"]))
