"""Open what a user names: the model, the retriever and the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rankrag.config.answering import AskConfig, RetrieverKind
from rankrag.data.files import read_ahead
from rankrag.data.progress import Progress
from rankrag.errors import ConfigError
from rankrag.models import LanguageModel
from rankrag.models.address import is_address, parse_address
from rankrag.models.family import MINI
from rankrag.models.prepared import resolve_model
from rankrag.pipeline import RankRAG
from rankrag.retrieval import Retriever

if TYPE_CHECKING:
    from rankrag.contract import Contract, ScoreType
    from rankrag.models.openai import OpenAIModel
    from rankrag.retrieval.encoder import Encoder
    from rankrag.retrieval.nearness import Nearness

Say = Callable[[str], None]

STATES = "states"
"""Folder in an index for the states of its passages."""


def load(
    index: Path | str,
    config: AskConfig | None = None,
    *,
    model: LanguageModel | None = None,
    encoder: Encoder | None = None,
    say: Say = lambda _: None,
    progress: Progress | None = None,
) -> RankRAG:
    """Return the pipeline over an index; `RankragError` says what to do if a part cannot be opened.

    Args:
        index: folder that `rankrag index` wrote, or an address (docs/postgresql.md, docs/object-storage.md).
        config: how to answer (docs/configuration.md); by default as `rankrag ask` does.
        model: a model that is open already, instead of the config's.
        encoder: an encoder that is open already, instead of the config's.
        say: gets a line about anything that takes long.
        progress: hears of a download; without it, `say` gets a line now and then.
    """
    config = config or AskConfig()
    if config.retriever != "bm25":
        encoder = _opened(encoder or config.encoder)
    first_stage = open_retriever(index, config.retriever, encoder=encoder or config.encoder, say=say)
    if model is None:
        model = model_of(config, index=index, say=say, progress=progress)
    return open_reranker(config, model=model, retriever=first_stage, encoder=encoder, index=index, say=say)


def open_reranker(
    config: AskConfig,
    *,
    model: LanguageModel | None = None,
    retriever: Retriever | None = None,
    encoder: Encoder | None = None,
    index: Path | str | None = None,
    say: Say = lambda _: None,
) -> RankRAG:
    """Return the pipeline over a retriever that is open already, or over none: then it reranks what it is given.

    Vectors in `index` are used again instead of encoding its passages.
    """
    if model is None:
        model = model_of(config, index=index, say=say)
    shares = config.rerank and config.similarity
    nearness = open_nearness(model.contract, encoder or config.encoder, say, index) if shares else None
    return RankRAG(retriever, model, config, nearness)


def model_of(
    config: AskConfig,
    *,
    index: Path | str | None = None,
    say: Say = lambda _: None,
    progress: Progress | None = None,
) -> LanguageModel:
    """Return the config's model; passage states are kept in `index` if the config says so."""
    settings = config.model_dump(include={"device", "dtype", "score", "state_cache", "short_writing"})
    return open_model(config.model, **settings, index=index, say=say, progress=progress)


def open_model(
    name: str = MINI,
    *,
    device: str = "auto",
    dtype: str = "auto",
    score: ScoreType | None = None,
    state_cache: Path | str = "off",
    short_writing: bool = True,
    index: Path | str | None = None,
    say: Say = lambda _: None,
    progress: Progress | None = None,
) -> LanguageModel:
    """Return the model with that name; rankrag-mini is assembled at its first use.

    An address means a server (`models.openai`). Its tokenizer and contract come from the directory after "#"; without
    one they are rankrag-mini's, if the server makes the same tokens. `score` defaults to the contract's.

    Passage states are kept in memory, in a folder, or, for the `state_cache` "index", in a folder of `index`. Only
    models in this process whose prompts begin with the passage keep any; for others `say` gets a line if a folder was
    named. `short_writing` is that of `TransformersModel`.
    """
    is_named = str(state_cache) not in ("off", "memory", "index")
    if is_address(name):
        if is_named:
            say(f"state_cache {state_cache}: not used, the server keeps what it has read itself")
        return open_server(name, score=score, say=say)
    directory = resolve_model(name, say, progress)
    read_ahead(*Path(directory).glob("*.safetensors"), *Path(directory).glob("*.packed"))  # while torch is imported
    from rankrag.models.parallel import ParallelModel
    from rankrag.models.state_cache import open_cache
    from rankrag.models.transformers import TransformersModel

    replicas = [
        TransformersModel(directory, device=one.strip(), dtype=dtype, score=score, short_writing=short_writing)
        for one in device.split(",")
    ]
    reason = replicas[0].why_no_states()
    where = _states_in(index) if state_cache == "index" else state_cache
    for replica in replicas:
        replica.states = None if reason else open_cache(where, replica.model, say)
    if reason and is_named:
        say(f"state_cache {state_cache}: not used, {reason}")
    return replicas[0] if len(replicas) == 1 else ParallelModel(replicas)


def open_server(
    address: str, *, directory: str = MINI, score: ScoreType | None = None, say: Say = lambda _: None
) -> OpenAIModel:
    """Return the model at an address; `directory` has its tokenizer and contract if the address names no other."""
    from rankrag.models.openai import OpenAIModel

    found = parse_address(address, directory)
    return OpenAIModel(replace(found, directory=resolve_model(found.directory, say)), score=score)


def open_nearness(
    contract: Contract,
    encoder: Encoder | Path | str | None = None,
    say: Say = lambda _: None,
    index: Path | str | None = None,
) -> Nearness | None:
    """Return the encoder's share in the final order; None if the contract gives it no weight.

    The weight belongs to one encoder: `encoder` or all-MiniLM-L6-v2. If it is neither, `say` gets a line and the model
    orders alone. Vectors in `index` are used again.
    """
    weight = contract.similarity_weight
    if not weight:
        return None
    from rankrag.retrieval.encoder import Encoder
    from rankrag.retrieval.nearness import Nearness

    encoder = _opened(encoder)
    if encoder.name != contract.similarity_encoder:
        encoder = Encoder()
    if encoder.name == contract.similarity_encoder:
        if index is None:
            return Nearness(encoder, weight)
        from rankrag.retrieval.homes import open_store

        return Nearness(encoder, weight, partial(open_store(index).vectors_of, encoder))
    say(f"The final order was fitted with {contract.similarity_encoder}, which is not here; the model orders alone.")
    return None


def open_retriever(
    index: Path | str,
    kind: RetrieverKind = "hybrid",
    *,
    encoder: Encoder | Path | str | None = None,
    say: Say = lambda _: None,
) -> Retriever:
    """Return a retriever over the index as it is now; `IndexStoreError` if there is no index."""
    if kind not in get_args(RetrieverKind):
        raise ConfigError(f"retriever {kind!r} is not known; choose {', '.join(get_args(RetrieverKind))}")
    from rankrag.retrieval.homes import open_store

    store = open_store(index)
    if kind == "bm25" or not len(store):
        return store.lexical()
    encoder = _opened(encoder)
    if kind == "dense":
        return store.dense(encoder)
    if reason := store.why_no_vectors():
        say(reason)
        return store.lexical()
    missing = store.missing_vectors()
    if missing == len(store):
        say("The index has no vectors yet, so BM25 alone is used; run the same `rankrag index` again to fill them.")
        return store.lexical()
    if missing:
        say(f"{missing} of {len(store)} passages have no vector yet; run the same `rankrag index` again to fill them.")
    return store.hybrid(encoder)


def _states_in(index: Path | str | None) -> Path | str:
    """Return the folder for passage states beside an index, or "memory" if there is none that we may write to."""
    if index is None:
        return "memory"
    from rankrag.retrieval.homes import folder_beside

    folder = folder_beside(index)
    return folder / STATES if folder else "memory"


def _opened(encoder: Encoder | Path | str | None) -> Encoder:
    from rankrag.retrieval.encoder import Encoder

    return Encoder(encoder) if encoder is None or isinstance(encoder, Path | str) else encoder
