"""llama.cpp on this machine: a GGUF file served to this process, ranking and answering as any server of its kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rankrag.errors import MissingExtraError
from rankrag.models.address import parse_address
from rankrag.models.openai import OpenAIModel


@contextmanager
def serving(gguf: Path, directory: Path, *, context: int, threads: int) -> Iterator[OpenAIModel]:
    """Give the model of a GGUF file while llama.cpp runs, with the tokenizer and the contract in `directory`.

    `context` is the longest prompt with its reply in tokens. Keys and values are kept in 32 bit without flash
    attention, whose 16 bits would move scores more than those of the weights do.
    """
    try:
        import xllamacpp
    except ImportError:
        raise MissingExtraError('llama.cpp is not installed; run: pip install "rankrag[llamacpp]"') from None
    params = xllamacpp.CommonParams()
    params.model.path = str(gguf)
    params.n_ctx, params.n_parallel, params.warmup = context, 1, False
    params.cpuparams.n_threads = threads
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.verbosity = 0
    server = xllamacpp.Server(params)
    try:
        yield OpenAIModel(parse_address(f"{server.listening_address}/v1?concurrency=1#{directory}", ""))
    finally:
        del server
