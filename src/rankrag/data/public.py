"""Public data sets in the form in which they are published, one short reader each, as rows of docs/data.md.

A reader takes one published row and yields ours; `LeftOut` says why a row cannot be used. What a release is known to
lack is said in `KNOWN_DEFECTS` and goes into the manifest.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, pairwise
from typing import Any

from rankrag.config import Reader
from rankrag.data.files import Row
from rankrag.errors import DataError
from rankrag.matching import contains_any

NO_ANSWER = "No Answer Present."
"""What MS MARCO has as the answer of a query that its passages do not answer."""


class LeftOut(Exception):  # noqa: N818 - not a mistake: a row that is passed over for a reason that is counted
    """A row that gives no example; the message is the reason, as it stands in the manifest."""


def converted(
    reader: Reader, rows: Iterable[tuple[str, Row]], dropped: Counter[str], on_bad_row: Callable[[DataError], None]
) -> Iterator[tuple[str, Row]]:
    """Yield published rows in our form, in their order; `dropped` counts those left out, by reason.

    A row that lacks a field of its data set is told to `on_bad_row`.
    """
    if reader == "rankrag":
        yield from rows
        return
    for where, row in _trees(rows) if reader == "oasst" else rows:
        try:
            for found in READERS[reader](row):
                yield where, found
        except LeftOut as reason:
            dropped[str(reason)] += 1
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            found_keys = ", ".join(sorted(row))
            on_bad_row(DataError(f"{where}: no row of {reader} ({error!r}; found: {found_keys})"))


def chatqa(row: Row) -> Iterator[Row]:
    """nvidia/ChatQA-Training-Data: a conversation that ends before its answer, with a document, but for `sft`."""
    turns = [{"role": m["role"], "content": m["content"]} for m in row["messages"]]
    answers = [text for answer in row.get("answers") or [] for text in _texts(answer) if text.strip()]
    if turns and turns[-1]["role"] == "assistant":
        answers = answers or [turns[-1]["content"]]
        turns = turns[:-1]
    if not turns or not answers:
        raise LeftOut("no question with an answer")
    name = _named("chatqa", row.get("document"), *(turn["content"] for turn in turns))
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


def chatqa_ropes(row: Row) -> Iterator[Row]:
    """ROPES of ChatQA-Training-Data, less the rows that cannot be answered because their situation is missing."""
    for found in chatqa(row):
        if not contains_any(f"{row['document']} {found['question']}", found["answers"]):
            raise LeftOut("the answer is neither in the document nor in the question (the situation is missing)")
        yield found


def msmarco(row: Row) -> Iterator[Row]:
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


def squad(row: Row) -> Iterator[Row]:
    """rajpurkar/squad and squad_v2: a question over a paragraph; in the second some have no answer."""
    yield {
        "id": row["id"],
        "question": row["question"].strip(),
        "answers": list(dict.fromkeys(row["answers"]["text"])),
        "contexts": [{"title": row["title"].replace("_", " "), "text": row["context"]}],
    }


def dpr(row: Row) -> Iterator[Row]:
    """DPR's retriever data (WebQuestions, NQ, SQuAD …): the best positive passage, and BM25's hard negatives."""
    if not row["positive_ctxs"]:
        raise LeftOut("no positive passage")
    labelled = [(row["positive_ctxs"][0], 1), *((found, 0) for found in row.get("hard_negative_ctxs") or [])]
    yield {
        "id": _named("dpr", row["question"]),
        "question": row["question"],
        "answers": list(row["answers"]),
        "candidates": [
            {"id": f"dpr/{_passage_id(found)}", "title": found["title"], "text": found["text"], "label": label}
            for found, label in labelled
        ],
    }


def oasst(row: Row) -> Iterator[Row]:
    """OpenAssistant/oasst1 and oasst2: of each tree the conversation of the best replies, down to the last one."""
    replies: dict[str | None, list[Row]] = {}
    for message in row["messages"]:
        if not message.get("deleted"):
            replies.setdefault(message["parent_id"], []).append(message)
    turns: list[Row] = []
    found = replies.get(None, [])
    if not found:
        raise LeftOut("part of a tree without its first message")
    while found:
        best = min(found, key=lambda m: (m.get("rank") is None, m.get("rank") or 0))
        turns.append({"role": "user" if best["role"] == "prompter" else "assistant", "content": best["text"]})
        found = replies.get(best["message_id"], [])
    yield {"id": f"oasst/{row['message_tree_id']}", "messages": turns}


def dolly(row: Row) -> Iterator[Row]:
    """databricks/databricks-dolly-15k: an instruction, perhaps with a text, and its response."""
    asked = "\n\n".join(part.strip() for part in (row["instruction"], row["context"]) if part.strip())
    yield _instruction("dolly", asked, row["response"])


def soda(row: Row) -> Iterator[Row]:
    """allenai/soda: a chat of two people who take turns; the second one is the assistant."""
    speakers, lines = row["speakers"], row["dialogue"]
    if len(set(speakers)) != 2 or any(a == b for a, b in pairwise(speakers)):
        raise LeftOut("not two speakers who take turns")
    turns = [{"role": ("user", "assistant")[i % 2], "content": line} for i, line in enumerate(lines)]
    yield {"id": _named("soda", *lines), "messages": turns}


def eli5(row: Row) -> Iterator[Row]:
    """ELI5 (rexarski/eli5_category and the first release): a question of a forum and its best rated answer."""
    texts, scores = row["answers"]["text"], row["answers"]["score"]
    if not texts:
        raise LeftOut("no answer")
    best = max(range(len(texts)), key=lambda i: scores[i])
    asked = "\n\n".join(part.strip() for part in (row["title"], row["selftext"]) if part.strip())
    yield {"id": f"eli5/{row['q_id']}", "messages": _turns(asked, texts[best])}


def flan(row: Row) -> Iterator[Row]:
    """The FLAN collection, chain-of-thought part too: `inputs` and `targets`."""
    yield _instruction("flan", row["inputs"], row["targets"])


def self_instruct(row: Row) -> Iterator[Row]:
    """yizhongw/self_instruct: `prompt` and `completion`, less the marks of the model that it was made for."""
    prompt, completion = row["prompt"].strip(), row["completion"].strip()
    yield _instruction(
        "self_instruct", prompt.removesuffix("Output:").strip(), completion.removesuffix("<|endoftext|>").strip()
    )


def unnatural_instructions(row: Row) -> Iterator[Row]:
    """mrm8488/unnatural-instructions-core and the first release: an instruction with instances of it."""
    for instance in row["instances"]:
        yield _instruction("unnatural", instance["instruction_with_input"], instance["output"])


READERS: dict[str, Callable[[Row], Iterator[Row]]] = {
    reader.__name__: reader
    for reader in (
        chatqa,
        chatqa_ropes,
        dolly,
        dpr,
        eli5,
        flan,
        msmarco,
        oasst,
        self_instruct,
        soda,
        squad,
        unnatural_instructions,
    )
}

KNOWN_DEFECTS: dict[str, tuple[str, ...]] = {
    "chatqa": (
        "the private conversations of stage I and HumanAnnotatedConvQA are not in the release",
        "NewsQA was taken out of the release: build it from its source and name the file as 'rows'",
        "synthetic_convqa was written by GPT-3.5: OpenAI's terms",
    ),
    "chatqa_ropes": ("the situation paragraph is missing from every row",),
    "oasst": ("the lowest rank is the best reply; unranked trees take the first one",),
    "soda": ("written by a language model",),
    "self_instruct": ("written by a language model, unfiltered",),
    "unnatural_instructions": ("written by a language model; about half of the outputs are right, by its authors",),
}
"""What a public release lacks, by reader."""


def _trees(rows: Iterable[tuple[str, Row]]) -> Iterator[tuple[str, Row]]:
    """Yield the messages of each tree together; they stand together in the release."""
    for tree, found in groupby(rows, key=lambda located: located[1].get("message_tree_id")):
        messages = list(found)
        yield messages[0][0], {"message_tree_id": tree, "messages": [row for _, row in messages]}


def _texts(answer: Any) -> list[str]:
    """Return the texts of an answer: itself, a list of alternatives, or SQuAD's object."""
    if isinstance(answer, dict):
        return _texts(answer["text"])
    return list(answer) if isinstance(answer, list) else [str(answer)]


def _passage_id(found: Row) -> str:
    return str(found.get("passage_id") or found.get("psg_id") or _named("text", found["text"]))


def _instruction(name: str, asked: str, reply: str) -> Row:
    return {"id": _named(name, asked, reply), "messages": _turns(asked, reply)}


def _turns(asked: str, reply: str) -> list[Row]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": reply}]


def _named(name: str, *texts: str | None) -> str:
    """Return an id made from the content, for sets whose rows have none."""
    return f"{name}/{hashlib.sha256(chr(0).join(text or '' for text in texts).encode()).hexdigest()[:16]}"
