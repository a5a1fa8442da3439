"""Public instruction sets and forum answers as rows of `messages`; `public` reads files with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise

from rankrag.data.files import Located, Row
from rankrag.data.rows import Companion, LeftOut


def oasst(row: Row, _: Companion) -> Iterator[Row]:
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


def dolly(row: Row, _: Companion) -> Iterator[Row]:
    """databricks/databricks-dolly-15k: an instruction, perhaps with a text, and its response."""
    asked = "\n\n".join(part.strip() for part in (row["instruction"], row["context"]) if part.strip())
    yield _instruction("dolly", asked, row["response"])


def reading(row: Row, _: Companion) -> Iterator[Row]:
    """Instructions in our form with a text after a blank line, as Dolly has them, as questions about that text."""
    if len(row["messages"]) != 2 or not row.get("has_context"):
        raise LeftOut("no text to read")
    asked, reply = (turn["content"] for turn in row["messages"])
    question, _gap, text = asked.partition("\n\n")
    yield {"id": row["id"], "question": question.strip(), "answers": [reply], "contexts": [{"text": text.strip()}]}


def soda(row: Row, _: Companion) -> Iterator[Row]:
    """allenai/soda: a chat of two people who take turns; the second one is the assistant."""
    speakers, lines = row["speakers"], row["dialogue"]
    if len(set(speakers)) != 2 or any(a == b for a, b in pairwise(speakers)):
        raise LeftOut("not two speakers who take turns")
    turns = [{"role": ("user", "assistant")[i % 2], "content": line} for i, line in enumerate(lines)]
    yield {"id": content_id("soda", *lines), "messages": turns}


def eli5(row: Row, _: Companion) -> Iterator[Row]:
    """ELI5 (rexarski/eli5_category and the first release): a question of a forum and its best rated answer."""
    texts, scores = row["answers"]["text"], row["answers"]["score"]
    if not texts:
        raise LeftOut("no answer")
    best = max(range(len(texts)), key=lambda i: scores[i])
    asked = "\n\n".join(part.strip() for part in (row["title"], row["selftext"]) if part.strip())
    yield {"id": f"eli5/{row['q_id']}", "messages": _turns(asked, texts[best])}


def flan(row: Row, _: Companion) -> Iterator[Row]:
    """The FLAN collection, chain-of-thought part too: `inputs` and `targets`."""
    yield _instruction("flan", row["inputs"], row["targets"])


def self_instruct(row: Row, _: Companion) -> Iterator[Row]:
    """yizhongw/self_instruct: `prompt` and `completion`, less the marks of the model that it was made for."""
    prompt, completion = row["prompt"].strip(), row["completion"].strip()
    yield _instruction(
        "self_instruct", prompt.removesuffix("Output:").strip(), completion.removesuffix("<|endoftext|>").strip()
    )


def unnatural_instructions(row: Row, _: Companion) -> Iterator[Row]:
    """mrm8488/unnatural-instructions-core and the first release: an instruction with instances of it."""
    for instance in row["instances"]:
        yield _instruction("unnatural", instance["instruction_with_input"], instance["output"])


def trees(rows: Iterable[Located]) -> Iterator[Located]:
    """Yield the messages of each tree together; they stand together in the release."""
    for tree, found in groupby(rows, key=lambda located: located[1].get("message_tree_id")):
        messages = list(found)
        yield messages[0][0], {"message_tree_id": tree, "messages": [row for _, row in messages]}


def _instruction(name: str, asked: str, reply: str) -> Row:
    return {"id": content_id(name, asked, reply), "messages": _turns(asked, reply)}


def _turns(asked: str, reply: str) -> list[Row]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": reply}]


def content_id(name: str, *texts: str | None) -> str:
    """Return an id made from the content, for sets whose rows have none."""
    return f"{name}/{hashlib.sha256(chr(0).join(text or '' for text in texts).encode()).hexdigest()[:16]}"
