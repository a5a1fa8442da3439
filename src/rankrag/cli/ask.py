"""`rankrag ask` and `rankrag chat`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rankrag.cli import options
from rankrag.cli.options import say
from rankrag.errors import ConfigError, DataError
from rankrag.types import Answer, Question

if TYPE_CHECKING:
    from rankrag.config.answering import AskConfig
    from rankrag.pipeline import RankRAG

QuestionText = Annotated[str | None, typer.Argument(help="The question; or use --questions.", show_default=False)]
Questions = Annotated[Path | None, typer.Option(help="JSON Lines with questions to answer; `-` for standard input.")]
Out = Annotated[Path | None, typer.Option(help="File for the answers to --questions; answers that it holds are kept.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer with everything it came from as JSON.")]


def ask(
    question: QuestionText = None,
    *,
    index: options.Index = options.DEFAULT_INDEX,
    retriever: options.RetrieverChoice = None,
    n: options.NChoice = None,
    k: options.K = None,
    as_json: AsJson = False,
    questions: Questions = None,
    out: Out = None,
    model: options.ModelChoice = None,
    device: options.DeviceChoice = None,
    dtype: options.DtypeChoice = None,
    config: options.ConfigFile = None,
    set_: options.Set = None,
) -> None:
    """Answer a question, with the passages behind the answer."""
    if (question is None) == (questions is None):
        raise ConfigError("ask takes one question, or --questions FILE; see rankrag ask --help")
    if question is not None and not question.strip():
        raise DataError("the question is empty; ask something")
    settings = options.asked_for(config, set_, model=model, device=device, dtype=dtype, retriever=retriever, n=n, k=k)

    if questions is not None:
        _ask_many(settings, index, questions, out)
    elif as_json:
        from rankrag.data.runs import answer_row

        print(json.dumps(answer_row(_opened(index, settings).ask(str(question))), ensure_ascii=False, indent=1))
    else:
        _stream(_opened(index, settings), Question("", str(question)))


def chat(
    *,
    index: options.Index = options.DEFAULT_INDEX,
    retriever: options.RetrieverChoice = None,
    n: options.NChoice = None,
    k: options.K = None,
    model: options.ModelChoice = None,
    device: options.DeviceChoice = None,
    dtype: options.DtypeChoice = None,
    config: options.ConfigFile = None,
    set_: options.Set = None,
) -> None:
    """Talk with the documents."""
    from rankrag.pipeline import next_turn

    settings = options.asked_for(config, set_, model=model, device=device, dtype=dtype, retriever=retriever, n=n, k=k)
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
    import rankrag

    with options.step_lines() as progress:
        return rankrag.load(index, settings, say=say, progress=progress)


def _stream(rag: RankRAG, question: Question) -> Answer:
    from rankrag.cli.display import print_evidence

    for piece in rag.stream(question):
        if isinstance(piece, Answer):
            print()
            print_evidence(piece)
            return piece
        print(piece, end="", flush=True)
    raise AssertionError("a stream ends with its answer")


def _ask_many(settings: AskConfig, index: str, questions: Path, out: Path | None) -> None:
    from rankrag.data.in_order import in_order
    from rankrag.data.journal import Journal
    from rankrag.data.rows import read_questions

    options.refuse_input(out, questions=questions)
    wanted = {question.id: question for question in read_questions(questions)}
    answers = Journal(out, lambda row: [(row["id"], row)], is_row=_is_answer)
    missing = [question for name, question in wanted.items() if name not in answers]
    if len(missing) < len(wanted):
        say(f"{len(wanted) - len(missing)} of {len(wanted)} questions are answered in {out} already.")
    if not missing:
        return
    ask_one, at_once = _asking(settings, index)

    def row_of(question: Question) -> dict[str, Any]:
        try:
            return ask_one(question)
        except DataError as error:
            return {"id": question.id, "question": question.text, "error": str(error)}

    failed, done = 0, len(wanted) - len(missing)
    with options.step_lines(passing=True) as step:
        step("Answering", done, len(wanted))
        for row in in_order(row_of, missing, at_once=at_once):
            answers.append([row])
            if out is None:
                print(json.dumps(row, ensure_ascii=False), flush=True)
            failed, done = failed + ("error" in row), done + 1
            step("Answering", done, len(wanted))
    if failed:
        say(f"{failed} of {len(missing)} questions could not be answered; their rows have 'error'.")


def _asking(settings: AskConfig, index: str) -> tuple[Callable[[Question], dict[str, Any]], int]:
    """Return what answers a question with a row, here or on a cluster, and how many it takes at a time."""
    from rankrag.data.runs import answer_row

    if settings.ray is None:
        rag = _opened(index, settings)
        return lambda question: answer_row(rag.ask(question)), 1
    from rankrag.cluster.pipelines import answered, hold_pipeline

    held = hold_pipeline(settings, index, say)
    return partial(held, answered), held.size


def _is_answer(row: Mapping[str, Any]) -> bool:
    return "id" in row and "question" in row and ("abstained" in row or "error" in row)
