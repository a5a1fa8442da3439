"""All checks of a run that need no weights; all problems are reported at once."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rankrag.blend.mixture import EXAMPLES_FILE
from rankrag.config.training import TrainConfig
from rankrag.contract import Contract
from rankrag.encoding import PromptEncoder, chat_turns, plain_turns
from rankrag.errors import ConfigError, RankragError
from rankrag.models.loading import layers_of
from rankrag.templates import Format
from rankrag.training.attention import implementation
from rankrag.training.start import (
    Start,
    find_start,
    need_four_bits,
    padded_tokenizer,
    skeleton,
    tokenizer_fingerprint,
    top_modules,
)


@dataclass(frozen=True, slots=True)
class CheckedRun:
    """What the checks have opened, for the run to use; no example may have more than `limit` tokens."""

    start: Start
    tokenizer: Any
    encoder: PromptEncoder
    examples: Path
    limit: int


def check_run(config: TrainConfig, say: Callable[[str], None] = lambda _: None) -> CheckedRun:
    """Return everything a run needs besides its weights; `ConfigError` lists all problems of the configuration."""
    examples = Path(config.blend) / EXAMPLES_FILE
    problems = list(_config_problems(config, examples))
    start = model = tokenizer = encoder = None
    with _noted(problems):
        if config.method == "qlora":
            need_four_bits()
    with _noted(problems):
        start = find_start(config, say)
    if start is not None:
        with _noted(problems):
            model = skeleton(start.base)
            problems += _model_problems(config, start, model)
        # a hub that refused once is not asked again: its refusal takes half a minute
        is_there = model is not None or Path(start.base).is_dir()
        with _noted(problems):
            if is_there or start.tokenizer != start.base:
                tokenizer = padded_tokenizer(start.tokenizer, config.pad_token)
                problems += _tokenizer_problems(start, tokenizer, ask_base=is_there)
    if start is not None and tokenizer is not None:
        with _noted(problems):
            contract = contract_of(config, tokenizer, start.base_sha256, model and model.config)
            if start.format is not None:
                problems += _format_problems(start.format, contract.format)
                contract = replace(contract, format=replace(contract.format, wordings=start.format.wordings))
            encoder = PromptEncoder(tokenizer, contract)
    if problems or start is None or encoder is None:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise ConfigError(f"this run cannot start, {len(problems)} problem{'s' * (len(problems) > 1)}:{listed}")
    limit = min(encoder.contract.max_tokens, config.tokens_per_batch)
    return CheckedRun(start, tokenizer, encoder, examples, limit)


def contract_of(config: TrainConfig, tokenizer: Any, base_sha256: str, shape: Any = None) -> Contract:
    """Return the contract of the run, which its checkpoint will carry; `shape` bounds the length of a prompt."""
    turns = chat_turns(tokenizer) if config.turn_format == "chat_template" else plain_turns(tokenizer)
    form = Format(turns=turns, layout=config.layout, history_turns=config.history_turns)
    return Contract(
        format=form,
        passage_tokens=config.passage_tokens,
        max_tokens=token_limit(config, shape),
        base_sha256=base_sha256,
    )


def token_limit(config: TrainConfig, shape: Any) -> int:
    """Return the tokens of the longest example: as configured, but no more than the model's positions."""
    return min(config.max_tokens, getattr(shape, "max_position_embeddings", None) or config.max_tokens)


@contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    """Note the error of the block, if any, and go on after it."""
    try:
        yield
    except RankragError as error:
        problems.append(str(error))


def _config_problems(config: TrainConfig, examples: Path) -> Iterator[str]:
    if not examples.is_file():
        yield f"blend: {examples} is not there; run `rankrag blend` first"
    if config.dev and config.dev.examples and not Path(config.dev.examples).is_file():
        yield f"dev.examples: {config.dev.examples} is not there; name a file as `rankrag blend` writes it"
    if config.average_checkpoints > config.keep_checkpoints:
        yield f"average_checkpoints is {config.average_checkpoints}, but keep_checkpoints is {config.keep_checkpoints}"
    if config.sharding == "fsdp2":
        if config.average_checkpoints > 1:
            yield "average_checkpoints needs whole checkpoints; sharding: fsdp2 writes them in shards"
        if config.method != "full":
            yield f"sharding: fsdp2 is for method: full; an adapter ({config.method}) leaves the base whole"
        if "WORLD_SIZE" not in os.environ:
            yield "sharding: fsdp2 needs several processes; start it with torchrun -m rankrag train …"


def _format_problems(before: Format, now: Format) -> Iterator[str]:
    """Yield the parts of the prompt format that a configuration would change between two stages."""
    why = "so was the model trained to start from; to change it nevertheless, start from a copy without its contract"
    if now.turns.name != before.turns.name:
        yield f"turn_format: {now.turns.name}; set it to {before.turns.name}: {why}"
    elif now.turns != before.turns:
        yield f"turn_format: the tokenizer's turn markers are {now.turns}, not {before.turns}: {why}"
    for name in ("layout", "history_turns"):
        if getattr(now, name) != getattr(before, name):
            yield f"{name}: {getattr(now, name)}; set it to {getattr(before, name)}: {why}"


def _tokenizer_problems(start: Start, tokenizer: Any, *, ask_base: bool) -> Iterator[str]:
    if tokenizer.pad_token_id is None:
        some = ", ".join(map(repr, tokenizer.all_special_tokens[:5]))
        yield f"pad_token: this tokenizer has no padding token; name one of its tokens ({some}, …)"
    expected = start.tokenizer_sha256
    if start.adapter is not None and ask_base:
        expected = tokenizer_fingerprint(padded_tokenizer(start.base, None))
    found = tokenizer_fingerprint(tokenizer)
    if expected not in ("", found):
        yield (
            f"model: the tokenizer in {start.tokenizer} ({found[:12]}) is not the one of the stage before "
            f"({expected[:12]}); all stages of a model need the same tokenizer"
        )


def _model_problems(config: TrainConfig, start: Start, model: Any) -> Iterator[str]:
    yield from _attention_problems(config, model)
    names = [name for name, _ in model.named_modules()]
    for wanted in config.lora.target_modules if config.method != "full" and start.adapter is None else ():
        if not any(name == wanted or name.endswith(f".{wanted}") for name in names):
            last = sorted({n.rpartition(".")[2] for n, m in model.named_modules() if not list(m.children())})
            close = difflib.get_close_matches(wanted, last, n=1)
            meant = f"did you mean {close[0]!r}?" if close else f"the model has {', '.join(last)}"
            yield f"lora.target_modules: no module is called {wanted!r}; {meant}"
    if config.lora.top_layers is not None and config.method != "full" and start.adapter is None:
        yield from _top_layer_problems(config, config.lora.top_layers, model)


def _attention_problems(config: TrainConfig, model: Any) -> Iterator[str]:
    """Yield reasons why this model would read an example in a packed row differently than alone."""
    kind, shape = model.config.model_type, model.config.get_text_config()
    layers = set(getattr(shape, "layer_types", None) or {"full_attention", "sliding_attention"})
    window, longest = getattr(shape, "sliding_window", None), token_limit(config, shape)
    others = sorted(layers - {"full_attention", "sliding_attention"})
    if others or getattr(model, "_is_stateful", False):
        yield f"model: {kind} has layers ({', '.join(others) or 'with a state'}) that mind no mask; take another"
    if "sliding_attention" in layers and window and longest > window:
        yield f"max_tokens: {longest} is more than the {window} tokens that a {kind} sees back; set it to {window}"
    if any(name.endswith("sinks") for name, _ in model.named_parameters()):
        yield f"model: the attention of a {kind} has sinks, which training does not know; take another"
    if not model._supports_sdpa and implementation(compiled=config.compile) == "sdpa":
        yield f"compile: the attention of a {kind} is not known to torch's own; set compile to true"


def _top_layer_problems(config: TrainConfig, top: int, model: Any) -> Iterator[str]:
    try:
        layers = layers_of(model)
    except ValueError:
        yield f"lora.top_layers: the layers of a {type(model).__name__} are not known; leave top_layers out"
        return
    if top > len(layers):
        yield f"lora.top_layers: {top} is more than the model's {len(layers)} layers"
    elif not top_modules(config.lora, model):
        wanted = ", ".join(config.lora.target_modules) or "linear ones"
        yield f"lora.top_layers: none of the modules to adapt ({wanted}) is in the last {top} layers"
