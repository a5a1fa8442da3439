"""All prompts, as pure functions; no other file builds one.

A prompt is a tuple of `Segment`. All kinds have the same order (paper, appendices C.2 and D): system text, passages,
earlier turns, the user's turn, the start of the assistant's turn. `Format` has the turn markers, the order of passage
and question, and the wordings. It travels with a checkpoint in its contract.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rankrag.types import DataKind, Example, Message, Passage, Prompt, Question, Segment, Style

Layout = Literal["passage_first", "question_first"]

UNANSWERABLE = "Sorry. I cannot find the answer based on the context."
"""The reply to a question that the passages do not answer (ChatQA's data)."""

WRITER = (
    "You write questions for a test of reading. A question can be understood without the passage, and a few words of "
    "the passage answer it."
)
WRITE = "Write a question that is answered by this sentence of the passage: "

_WORKED_EXAMPLES = (
    (
        "The harbour of Marle was dug in 1712 by order of Queen Ilse. Its two moles of granite are 400 metres long.",
        "Its two moles of granite are 400 metres long.",
        "How long are the granite moles of the harbour of Marle?",
    ),
    (
        "Orrin wheat ripens three weeks before other kinds. It was bred in 1931 by the farmer Tessa Orrin.",
        "It was bred in 1931 by the farmer Tessa Orrin.",
        "Which farmer bred the wheat that ripens three weeks early?",
    ),
    (
        "In the winter of 1887 the lamplighters of Dunfeld refused to work. The city stayed dark for nine nights.",
        "In the winter of 1887 the lamplighters of Dunfeld refused to work.",
        "In which year did the lamplighters of Dunfeld refuse to work?",
    ),
)


@dataclass(frozen=True, slots=True)
class Turns:
    """The text between the parts of a conversation. `end` ends a reply; empty means the tokenizer's EOS token."""

    name: Literal["plain", "chat_template"] = "plain"
    start: str = "System: "
    system_to_user: str = "\n\nUser: "
    user_to_assistant: str = "\n\nAssistant: "
    assistant_to_user: str = "\n\nUser: "
    generation: str = "\n\nAssistant:"
    before_target: str = " "
    end: str = ""


@dataclass(frozen=True, slots=True)
class Wordings:
    """The paper's wordings (appendices C.2 and D.2). Its ranking prompts print "access" for "assess"."""

    system: str = (
        "This is a chat between a user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions based on the context. The assistant should also "
        "indicate when the answer cannot be found in the context."
    )
    rank: str = (
        "For the question {question}, assess whether the passage is relevant to the question. "
        "Return True if relevant, otherwise False."
    )
    rank_claim: str = (
        "For the claim {question}, assess whether the passage is relevant to the claim. "
        "Return True if relevant, otherwise False."
    )
    rank_list: str = (
        "For the question {question}, assess whether the above passages are relevant to the question. "
        "Return all the relevant passage id."
    )
    plain: str = "{question}"
    conversation: str = "{question}"
    short: str = "{question}. Answer the above question with a short phrase."
    span: str = "Answer the following question with a short span. {question}"
    long: str = "Please give a full and complete answer for the question. {question}"
    short_or_long: str = "Answer the following question with a short span, or a full and complete answer. {question}"
    arithmetic: str = (
        "Answer the following question with a number from the context or through math arithmetic. {question}"
    )
    claim: str = "Answer the following question with True or False. Is the claim '{question}' correct?"
    choice: str = "Answer the following question with the letter of the right option. {question}"

    def for_style(self, style: Style) -> str:
        """Return the wording of the user's turn for this kind of answer."""
        return str(getattr(self, style))


@dataclass(frozen=True, slots=True)
class Format:
    """How prompts are written for one model: turn markers, layout, wordings, and the number of earlier turns to keep.

    ChatRAG keeps the last 7 messages. `style` is the kind of answer that a question gets if it asks for none: a short
    phrase, or with "conversation" whatever the model would reply to a user.
    """

    turns: Turns = field(default_factory=Turns)
    layout: Layout = "passage_first"
    history_turns: int = 7
    wordings: Wordings = field(default_factory=Wordings)
    style: Style = "short"


def ranking_prompt(form: Format, question: Question, passage: Passage) -> Prompt:
    """Return the prompt whose next token is `True` or `False`: is this passage relevant? (appendices C.2, D.1).

    Earlier turns come first; the wording is put around the latest question only.
    """
    wording = form.wordings.rank_claim if question.style == "claim" else form.wordings.rank
    return _conversation(form, _passages([passage]), question, wording, ranking=True)


def list_ranking_prompt(form: Format, question: Question, passages: Sequence[Passage]) -> Prompt:
    """Return the prompt of retrieval-augmented ranking, which asks for the numbers of the relevant passages."""
    passages_shown = _passages(passages, numbered=True)
    return _conversation(form, passages_shown, question, form.wordings.rank_list, ranking=True)


def answer_prompt(form: Format, question: Question, passages: Sequence[Passage]) -> Prompt:
    """Return the prompt that asks for the answer. Without passages it is closed book; several passages are numbered.

    Options follow the question, one a line. The ranking prompt does not show them, since MIRAGE hides them from
    retrieval (docs/deviations.md).
    """
    numbered = len(passages) > 1
    lettered = [f"{letter}. {text}" for letter, text in zip(question.letters, question.options, strict=True)]
    question = replace(question, text="\n".join([question.text, *lettered]))
    wording = form.wordings.for_style(question.style or form.style)
    return _conversation(form, _passages(passages, numbered=numbered), question, wording)


def list_ranking_target(relevant: Sequence[int]) -> str:
    """Return the target of retrieval-augmented ranking for the indexes (from 0) of the relevant passages."""
    return ", ".join(f"Passage {i + 1}" for i in sorted(relevant))


def writing_prompt(form: Format, passage: Passage, sentence: str) -> Prompt:
    """Return the prompt for a question that this sentence of the passage answers.

    The paper has no such prompt. Three worked examples show a small model what is meant. Prompts about one passage
    differ only in the sentence.
    """
    turns = form.turns
    segments, marker = [Segment("fixed", turns.start + WRITER)], turns.system_to_user
    for text, answering, question in _WORKED_EXAMPLES:
        shown = f"{marker}Passage: {text}\n\n{WRITE}{answering}{turns.user_to_assistant}"
        segments.append(Segment("fixed", shown + question))
        marker = turns.assistant_to_user
    segments.append(Segment("fixed", f"{marker}Passage: "))
    segments.append(Segment("passage", defuse(passage_text(passage))))
    segments += [Segment("fixed", f"\n\n{WRITE}"), Segment("text", defuse(sentence))]
    segments.append(Segment("fixed", turns.generation))
    return _joined(segments)


def example_prompt(form: Format, example: Example) -> tuple[Prompt, str]:
    """Return the prompt and the target of a training example; the prompt is the one used at inference."""
    question, contexts = example.question, example.contexts
    if example.kind is DataKind.CONTEXT_RANKING:
        (passage,) = contexts
        return ranking_prompt(form, question, passage), example.target
    if example.kind is DataKind.RETRIEVAL_RANKING:
        return list_ranking_prompt(form, question, contexts), example.target
    return answer_prompt(form, question, contexts), example.target


def passage_text(passage: Passage) -> str:
    """Return a passage as the model reads it: its title, if it has one, on a line of its own, then its text."""
    title = passage.title.strip()
    return f"{title}\n{passage.text}" if title and not passage.text.startswith(title) else passage.text


_LINE_BREAKS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+[ \t]*")
_MARKER = re.compile(r"\n(?=(?:system|user|assistant|passage(?: \d+)?) ?:)", re.IGNORECASE)


def defuse(text: str) -> str:
    """Return foreign text in which no line begins like a turn or a passage of ours."""
    return _MARKER.sub(" ", _LINE_BREAKS.sub("\n", text.strip()))


def _passages(passages: Sequence[Passage], *, numbered: bool = False) -> list[Segment]:
    segments = []
    for number, passage in enumerate(passages, start=1):
        segments.append(Segment("fixed", f"\n\nPassage {number}: " if numbered else "\n\nPassage: "))
        segments.append(Segment("passage", defuse(passage_text(passage))))
    return segments


def _conversation(
    form: Format, passages: list[Segment], question: Question, wording: str, *, ranking: bool = False
) -> Prompt:
    """Write the turns. A ranking instruction goes on the last user turn, others on the first (ChatQA's rule)."""
    turns = form.turns
    head = [Segment("fixed", turns.start + form.wordings.system)]
    segments = head + (passages if form.layout == "passage_first" else [])
    marker = turns.system_to_user
    history = _recent(question.history, form.history_turns)
    for number, message in enumerate(history):
        segments.append(Segment("fixed", marker))
        if message.role == "user":
            segments += _worded("{question}" if ranking or number else wording, message.content)
            marker = turns.user_to_assistant
        else:
            segments.append(Segment("text", defuse(message.content)))
            marker = turns.assistant_to_user
    segments.append(Segment("fixed", marker))
    segments += _worded(wording if ranking or not history else "{question}", question.text)
    if form.layout == "question_first":
        segments += passages
    segments.append(Segment("fixed", turns.generation))
    return _joined(segments)


def _recent(history: tuple[Message, ...], turns: int) -> tuple[Message, ...]:
    """Return the last turns, beginning with a user's turn."""
    kept = history[-turns:] if turns else ()
    return kept[1:] if kept and kept[0].role == "assistant" else kept


def _worded(wording: str, question: str) -> list[Segment]:
    """Put a question into its wording; no full stop follows a question that ends with a mark of its own."""
    before, after = wording.split("{question}")
    text = defuse(question)
    if after.startswith(". ") and text.endswith((".", "?", "!", "。", "？", "！", "؟")):
        after = after[1:]
    return [Segment("fixed", before), Segment("text", text), Segment("fixed", after)]


def _joined(segments: list[Segment]) -> Prompt:
    """Join neighbouring fixed segments and drop empty ones, so that only foreign text is tokenised by itself."""
    joined: list[Segment] = []
    for segment in segments:
        if not segment.text:
            continue
        if joined and joined[-1].kind == segment.kind == "fixed":
            joined[-1] = Segment("fixed", joined[-1].text + segment.text)
        else:
            joined.append(segment)
    return tuple(joined)
