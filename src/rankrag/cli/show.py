"""`rankrag show`: a prompt as the model sees it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text

from rankrag.cli import options
from rankrag.cli.options import say
from rankrag.config.answering import AskConfig
from rankrag.data.examples import read_examples
from rankrag.encoding import PromptEncoder
from rankrag.errors import ConfigError
from rankrag.models.address import is_address, parse_address
from rankrag.models.family import MINI
from rankrag.models.loading import prompt_encoder
from rankrag.models.prepared import resolve_model
from rankrag.templates import example_prompt
from rankrag.types import DataKind, Example, Passage, Question

Kind = Literal["context_ranking", "retrieval_ranking", "context_qa"]
ExamplesFile = Annotated[Path | None, typer.Argument(help="Training examples in the form of `rankrag blend`.")]
QuestionText = Annotated[str | None, typer.Option("--question", "-q", help="Show this question's prompt instead.")]
PassageTexts = Annotated[list[str] | None, typer.Option("--passage", "-p", help="Passage in this prompt (repeatable).")]


@options.with_options(AskConfig, "model", model="rankrag-mini")
def show(
    examples: ExamplesFile = None,
    *,
    question: QuestionText = None,
    passage: PassageTexts = None,
    kind: Annotated[Kind, typer.Option(help="Kind of prompt.")] = "context_ranking",
    number: Annotated[int, typer.Option(min=1, help="Number of examples to show.")] = 3,
    given: options.Given,
) -> None:
    """Show prompts as the model sees them.

    Passages are yellow, the question is blue, and the target of training is green.
    """
    if (examples is None) == (question is None):
        raise ConfigError("show takes a file of examples, or --question with --passage; see rankrag show --help")
    shown = read_examples(examples) if examples else _asked(str(question), passage or [], kind)
    model = given["model"]
    directory = parse_address(model, MINI).directory if is_address(model) else model
    encoder = prompt_encoder(resolve_model(directory, say))
    for example in islice(shown, number):
        _print(encoder, example)


def _asked(question: str, passages: list[str], kind: Kind) -> Iterator[Example]:
    if kind == "context_ranking" and len(passages) != 1:
        raise ConfigError(f"a ranking prompt has one passage, {len(passages)} were given with --passage")
    contexts = tuple(Passage(f"p{i}", text) for i, text in enumerate(passages, start=1))
    yield Example(DataKind(kind), "asked", Question("asked", question), contexts, "")


def _print(encoder: PromptEncoder, example: Example) -> None:
    console = Console(soft_wrap=True, highlight=False)
    prompt, target = example_prompt(encoder.contract.format, example)
    reply = encoder.encode_target(target) if target else []
    (encoded,) = encoder.encode([prompt], reserve=max(1, len(reply)))
    cut = ", passages cut" if encoded.truncated else ""
    head = f"── {example.kind} · {example.source} · {example.question.id} · {len(encoded)} + {len(reply)} tokens{cut} "
    console.print(Text(head, style="dim"))
    text = Text()
    styles = {"fixed": "", "text": "cyan", "passage": "yellow"}
    for segment, ids in zip(prompt, encoded.segments, strict=True):
        text.append(encoder.tokenizer.decode(ids), style=styles[segment.kind])
    text.append(encoder.tokenizer.decode(reply), style="bold green reverse")
    console.print(text)
    console.print()
