"""`rankrag ask` and `rankrag chat`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

import rankrag
from rankrag.cli import options
from rankrag.cli.display import print_evidence
from rankrag.cli.options import say
from rankrag.cli.rows import Making, made_rows
from rankrag.cluster.pipelines import answered, hold_pipeline
from rankrag.config.answering import AskConfig
from rankrag.config.schema import load_config
from rankrag.data.files import Row
from rankrag.data.journal import Journal
from rankrag.data.rows import read_questions
from rankrag.data.runs import answer_row
from rankrag.errors import ConfigError, DataError
from rankrag.pipeline import RankRAG, next_turn
from rankrag.types import Answer, Question

QuestionText = Annotated[str | None, typer.Argument(help="The question; or use --questions.", show_default=False)]
Questions = Annotated[Path | None, typer.Option(help="JSON Lines with questions to answer; `-` for standard input.")]
Out = Annotated[Path | None, typer.Option(help="File for the answers to --questions; answers that it holds are kept.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer with everything it came from as JSON.")]


@options.with_options(AskConfig, "retriever", "n", "k", "model", "device", "dtype")
def ask(
    question: QuestionText = None,
    *,
    index: options.Index = options.DEFAULT_INDEX,
    as_json: AsJson = False,
    questions: Questions = None,
    out: Out = None,
    config: options.ConfigFile = None,
    set_: options.Set = None,
    given: options.Given,
) -> None:
    """Answer a question, with the passages behind the answer.

    With `--set rounds=auto`, questions that need a second page are searched for twice.
    """
    if (question is None) == (questions is None):
        raise ConfigError("ask takes one question, or --questions FILE; see rankrag ask --help")
    if question is not None and not question.strip():
        raise DataError("the question is empty; ask something")
    settings = load_config(AskConfig, config, set_ or (), options=given)

    if questions is not None:
        _ask_many(settings, index, questions, out)
    elif as_json:
        print(json.dumps(answer_row(_opened(index, settings).ask(str(question))), ensure_ascii=False, indent=1))
    else:
        _stream(_opened(index, settings), Question("", str(question)))


@options.with_options(AskConfig, "retriever", "n", "k", "model", "device", "dtype")
def chat(
    *,
    index: options.Index = options.DEFAULT_INDEX,
    config: options.ConfigFile = None,
    set_: options.Set = None,
    given: options.Given,
) -> None:
    """Talk with the documents."""
    settings = load_config(AskConfig, config, set_ or (), options=given)
    rag = _opened(index, settings)
    say("Ask away. /new forgets the conversation, /quit (or Ctrl-D) ends it.")
    answer: Answer | None = None
    while True:
        try:
            text = input("\n> ").strip()
        except EOFError:
            print()
            return
        if text in ("/quit", "/exit"):
            return
        if text == "/new":
            answer = None
            say("A new conversation begins.")
        elif text:
            first = Question("", text, style="conversation")
            asked = next_turn(answer.question, answer, text) if answer else first
            try:
                answer = _stream(rag, asked)
            except DataError as error:
                say(f"rankrag: {error}")


def _opened(index: str, settings: AskConfig) -> RankRAG:
    with options.step_lines() as progress:
        return rankrag.load(index, settings, say=say, progress=progress)


def _stream(rag: RankRAG, question: Question) -> Answer:
    for piece in rag.stream(question):
        if isinstance(piece, Answer):
            print()
            print_evidence(piece)
            return piece
        print(piece, end="", flush=True)
    raise AssertionError("a stream ends with its answer")


def _ask_many(settings: AskConfig, index: str, questions: Path, out: Path | None) -> None:
    options.refuse_input(out, questions=questions)
    wanted = {question.id: [question] for question in read_questions(questions)}
    answers = Journal(out, lambda row: [(row["id"], [row])], is_row=_is_answer)
    failed = 0
    for row in made_rows(list(wanted.items()), partial(_asking, settings, index), answers, "Answering"):
        if out is None:
            print(json.dumps(row, ensure_ascii=False), flush=True)
        failed += "error" in row
    if failed:
        say(f"{failed} of {len(wanted)} questions could not be answered; their rows have 'error'.")


def _asking(settings: AskConfig, index: str) -> Making[Question]:
    """Return what answers a question with a row, here or on a cluster, and how many it takes at a time."""
    if settings.ray is None:
        rag = _opened(index, settings)
        return partial(_row, lambda question: answer_row(rag.ask(question))), 1
    held = hold_pipeline(settings, index, say)
    return partial(_row, partial(held, answered)), held.size


def _row(ask_one: Callable[[Question], Row], _: str, batch: Sequence[Question]) -> Row:
    (question,) = batch
    try:
        return ask_one(question)
    except DataError as error:
        return {"id": question.id, "question": question.text, "error": str(error)}


def _is_answer(row: Row) -> bool:
    return "id" in row and "question" in row and ("abstained" in row or "error" in row)
