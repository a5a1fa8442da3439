"""Open what a user names: the model, the retriever and the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from rankrag.errors import ConfigError
from rankrag.models import Form, LanguageModel
from rankrag.models.address import is_address, parse_address
from rankrag.models.family import MINI
from rankrag.models.prepared import resolve_model
from rankrag.pipeline import RankRAG, Reranker
from rankrag.rerank import NEVER
from rankrag.retrieval import Retriever

if TYPE_CHECKING:
    from rankrag.contract import Contract, HistoryQuery, ScoreType
    from rankrag.models.openai import OpenAIModel
    from rankrag.retrieval.encoder import Encoder
    from rankrag.retrieval.nearness import Nearness

RetrieverKind = Literal["bm25", "dense", "hybrid"]
Say = Callable[[str], None]


def load(
    index: Path | str,
    *,
    model: str | LanguageModel = MINI,
    retriever: RetrieverKind = "hybrid",
    n: int = 20,
    k: int | None = None,
    reranker: Reranker | str | None = "model",
    settled_from: float | Literal["fitted"] = NEVER,
    history_query: HistoryQuery | None = None,
    score: ScoreType | None = None,
    device: str = "auto",
    dtype: str = "auto",
    state_cache: Path | str = "memory",
    state_form: Form | None = None,
    encoder: Encoder | Path | str | None = None,
    say: Say = lambda _: None,
) -> RankRAG:
    """Return the pipeline over an index on disk.

    Args:
        index: folder that `rankrag index` wrote.
        model: "rankrag-mini", a Hugging Face model directory or hub id, or a model that is open already.
        retriever: the first stage; "hybrid" falls back to BM25 while the index has no vectors.
        n: passages to retrieve and rerank.
        k: passages to answer from, at most `n`; by default as many as the model was fitted for.
        reranker: "model", None for the retriever's order, or a function.
        settled_from: judging stops once the k-th best passage reaches this log-odds, "fitted" is the contract's; by
            default all N are judged.
        history_query: by which turns a conversation is searched (`pipeline.search_queries`); by default
            what the model was fitted for.
        score: what ranks, of a model that is opened here; by default what its contract says.
        device: "auto", "cpu", "cuda", …; several, as in "cuda:0,cuda:1", share the work between replicas.
        dtype: "auto", "float32", "bfloat16", "float16", "int8".
        state_cache: where the states of passages are kept from question to question: "memory" (1 GiB at most), "off",
            or a folder (4 GiB at most), which other processes find them in.
        state_form: "exact", "float16" or "int8"; by default exact in memory and float16 in a folder.
        encoder: what the index was made with: a sentence-transformers directory, a name of `retrieval.encoder.FORMS`
            or an open encoder; by default all-MiniLM-L6-v2.
        say: gets a line about what takes long.

    Raises:
        RankragError: with what to do, where a part cannot be opened.
    """
    if n < 1 or (k is not None and not 1 <= k <= n):
        raise ConfigError(f"n={n}, k={k}: n must be at least 1 and k between 1 and n")
    if retriever != "bm25":
        encoder = _opened(encoder)
    first_stage = open_retriever(index, retriever, encoder=encoder, say=say)
    if isinstance(model, str):
        model = open_model(
            model,
            device=device,
            dtype=dtype,
            score=score,
            state_cache=state_cache,
            state_form=state_form,
            say=say,
        )
    return RankRAG(
        first_stage,
        model,
        n=n,
        k=k,
        reranker=reranker,
        history_query=history_query,
        nearness=open_nearness(model.contract, encoder, say, index) if reranker == "model" else None,
        settled_from=settled_from,
    )


def open_model(
    name: str = MINI,
    *,
    device: str = "auto",
    dtype: str = "auto",
    score: ScoreType | None = None,
    state_cache: Path | str = "off",
    state_form: Form | None = None,
    say: Say = lambda _: None,
) -> LanguageModel:
    """Return the model with that name; rankrag-mini is assembled at its first use.

    An address means a server (`models.openai`). Its tokenizer and contract come from the directory after "#"; without
    one they are rankrag-mini's, if the server makes the same tokens. `score` defaults to the contract's. Passage states
    are kept only by models in this process whose prompts begin with the passage; for other models `say` gets a line if
    a folder was named.
    """
    if is_address(name):
        if str(state_cache) not in ("off", "memory"):
            say(f"--state-cache {state_cache}: not used, the server keeps what it has read itself")
        return open_server(name, score=score, say=say)
    directory = resolve_model(name, say)
    from rankrag.models.parallel import ParallelModel
    from rankrag.models.state_cache import open_cache
    from rankrag.models.transformers import TransformersModel

    replicas = [TransformersModel(directory, device=one.strip(), dtype=dtype, score=score) for one in device.split(",")]
    reason = replicas[0].why_no_states()
    for replica in replicas:
        replica.states = None if reason else open_cache(state_cache, replica.model, form=state_form, say=say)
    if reason and str(state_cache) not in ("off", "memory"):
        say(f"--state-cache {state_cache}: not used, {reason}")
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
        from rankrag.retrieval.store import PassageStore

        return Nearness(encoder, weight, partial(PassageStore.open(index).vectors_of, encoder))
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
    from rankrag.retrieval.store import PassageStore

    store = PassageStore.open(index)
    if kind == "bm25" or not len(store):
        return store.lexical()
    encoder = _opened(encoder)
    if kind == "dense":
        return store.dense(encoder)
    missing = store.missing_vectors()
    if missing == len(store):
        say("The index has no vectors yet, so BM25 alone is used; run the same `rankrag index` again to fill them.")
        return store.lexical()
    if missing:
        say(f"{missing} of {len(store)} passages have no vector yet; run the same `rankrag index` again to fill them.")
    return store.hybrid(encoder)


def _opened(encoder: Encoder | Path | str | None) -> Encoder:
    from rankrag.retrieval.encoder import Encoder

    return Encoder(encoder) if encoder is None or isinstance(encoder, Path | str) else encoder
