"""llama.cpp in this process: it serves a GGUF file, which ranks and answers like any other server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rankrag.errors import MissingExtraError
from rankrag.models.address import parse_address
from rankrag.models.openai import OpenAIModel


@contextmanager
def serving(gguf: Path, directory: Path, *, context: int, threads: int) -> Iterator[OpenAIModel]:
    """Serve a GGUF file within this context, with the tokenizer and the contract in `directory`.

    `context` is the longest prompt with its reply in tokens. Keys and values have 32 bits and flash attention is off:
    in 16 bits they would move scores more than the weights do.
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
