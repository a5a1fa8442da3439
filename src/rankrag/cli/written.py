"""What models write for a blend or a fit: replies to the questions of its sources, questions about own documents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rankrag.blend.own_corpus import own_source, write_own
from rankrag.blend.own_words import replied, write_replies
from rankrag.blend.prepare import config_problems
from rankrag.blend.sources import read_source, split_held_back
from rankrag.cli.options import say, step_lines
from rankrag.config.blend import BlendConfig, WritingConfig
from rankrag.errors import ConfigError
from rankrag.models import LanguageModel
from rankrag.models.family import FAMILY, base_of
from rankrag.models.model_key import model_key
from rankrag.models.prepared import resolve_model
from rankrag.opening import open_retriever
from rankrag.retrieval.homes import open_store


def with_replies(config: BlendConfig, teacher: LanguageModel, out: Path) -> BlendConfig:
    """Let the teacher write replies for the sources that want some; return the configuration with these sources."""
    name = model_key(teacher, resolve_model(str(config.teacher)))
    sources = []
    for source in config.sources:
        if source.replies is None:
            sources.append(source)
            continue
        with step_lines() as progress:
            read = read_source(source, Path(config.data), seed=config.seed, progress=progress)
            part, _ = split_held_back(read, config.held_back)
            counted = write_replies(
                part, teacher, out, questions=source.replies, seed=config.seed, name=name, progress=progress
            )
        say(f"{source.name}: {counted['kept']} of {counted.total()} replies kept")
        sources.append(replied(source, out))
    return config.model_copy(update={"sources": tuple(sources)})


def with_own_documents(
    config: BlendConfig, writing: WritingConfig, out: Path, opened: Callable[[str], LanguageModel], encoder: str | None
) -> BlendConfig:
    """Write questions about the passages of an index; return the configuration with them as one source more."""
    whole = config.model_copy(update={"sources": (*config.sources, own_source(writing, out))})
    if problems := config_problems(whole):
        raise ConfigError(f"the blend cannot be built: {'; '.join(problems)}")
    passages = open_store(writing.index).passages()
    retriever = open_retriever(writing.index, writing.retriever, encoder=encoder, say=say)
    member = {base_of(name).name: name for name in FAMILY}
    names = (writing.model, writing.reader or member.get(writing.model, writing.model))
    models = {name: opened(name) for name in dict.fromkeys(names)}
    writer, reader = (models[name] for name in names)
    keys = [model_key(models[name], resolve_model(name)) for name in names]
    with step_lines() as step:
        counted = write_own(
            writing, passages, retriever, writer, reader, out, seed=config.seed, models=keys, progress=step
        )
    why = ", ".join(f"{n} {reason}" for reason, n in counted.most_common() if reason != "kept")
    say(f"{counted['kept']} of {counted.total()} questions kept" + (f"; left out: {why}." if why else "."))
    return whole
