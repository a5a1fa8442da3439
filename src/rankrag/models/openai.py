"""A model on an OpenAI-compatible server, ranking and answering with our prompts.

Tokenizer and contract are local, so the server gets token ids on its completions route and never applies a template.
Each kind of server has its own way to ask for a label's log-probability by token id. If a server cannot give one, that
is an error, never a guess.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from rankrag.contract import Contract, ScoreType
from rankrag.encoding import EncodedPrompt
from rankrag.errors import ContractError, ModelError
from rankrag.models import ModelInfo, SamplingParams
from rankrag.models.address import FORM, Address, Kind
from rankrag.models.loading import prompt_encoder
from rankrag.models.remote import Remote
from rankrag.models.stopping import tidy
from rankrag.types import Prompt

T = TypeVar("T")

_TOP = 20
_LLAMA_TOP = 64
_SURE = 1e6

_OWNERS: dict[str, Kind] = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama.cpp"}
"""Kinds of servers by what they say owns their models; any other is generic."""


class OpenAIModel:
    """A causal language model on a server.

    Args:
        address: where it is, how it is asked, and the local directory with its tokenizer and contract.
        score: what ranks; by default the contract's.
        wait: see `Remote`.

    Raises:
        ModelError: the server cannot be reached, or does not say which model it has.
        ContractError: the contract does not belong to the tokenizer, or the tokenizer not to the server's model.
    """

    def __init__(self, address: Address, *, score: ScoreType | None = None, wait: float = 0.5) -> None:
        self.encoder = prompt_encoder(address.directory, score)
        self.contract: Contract = self.encoder.contract
        self._concurrency = address.concurrency
        self._path = address.path
        key = os.environ.get("OPENAI_API_KEY")
        self._remote = Remote(address.root, timeout=address.timeout, retries=address.retries, wait=wait, key=key)
        served = self._served()
        self.name = address.model or self._only(served)
        self.kind: Kind = address.kind or self._kind(served)
        self._check_tokenizer(address)

    @property
    def info(self) -> ModelInfo:
        """The defaults: a server says nothing about itself."""
        return ModelInfo()

    def encode(self, prompts: Sequence[Prompt], *, reserve: int = 1) -> list[EncodedPrompt]:
        """Return the token ids that the server is sent, leaving room for `reserve` tokens of a reply."""
        return self.encoder.encode(prompts, reserve=reserve)

    def choice_logprobs(self, prompts: Sequence[EncodedPrompt], choices: Sequence[str]) -> list[list[float]]:
        """Return the log-probability of each choice as the next token of each prompt, over the whole vocabulary."""
        ids = self.encoder.label_ids(choices)
        ask = {"vllm": self._vllm, "sglang": self._sglang, "llama.cpp": self._llama_cpp, "generic": self._generic}
        return self._all(lambda one: self._finite(ask[self.kind](one, ids), choices), [p.ids for p in prompts])

    def generate(self, prompts: Sequence[EncodedPrompt], params: SamplingParams) -> list[str]:
        """Return one continuation for each prompt, without the space around it."""

        def one(ids: list[int]) -> str:
            body = self._sampling(ids, params)
            text = self._read("text", lambda reply: str(reply["choices"][0].get("text", "")), self._complete(body, ids))
            return "".join(tidy(iter([text]), tuple(body["stop"])))

        return self._all(one, [p.ids for p in prompts])

    def stream(self, prompt: EncodedPrompt, params: SamplingParams) -> Iterator[str]:
        """Yield one continuation in pieces, as `generate` would return it."""
        body = self._sampling(prompt.ids, params)
        events = self._remote.stream(f"{self._path}/completions", body | {"stream": True})
        pieces = (str(event["choices"][0].get("text") or "") for event in events if event.get("choices"))
        yield from tidy(pieces, tuple(body["stop"]))

    def _vllm(self, ids: list[int], labels: list[int]) -> list[float]:
        wanted = {"logprobs": len(labels) + 1, "logprob_token_ids": labels, "return_tokens_as_token_ids": True}
        found = self._top_logprobs(self._complete(self._one_token(ids) | wanted, ids))
        return [
            self._of(found, f"token_id:{label}", "vLLM did not return it; it needs `logprob_token_ids`")
            for label in labels
        ]

    def _sglang(self, ids: list[int], labels: list[int]) -> list[float]:
        body = {"model": self.name, "query": ids[:1], "items": [ids[1:]], "label_token_ids": labels}
        found = self._remote.ask(f"{self._path}/score", body | {"apply_softmax": False, "item_first": False})
        return self._read("scores", lambda reply: [math.log(p) if p else -math.inf for p in reply["scores"][0]], found)

    def _llama_cpp(self, ids: list[int], labels: list[int]) -> list[float]:
        """Ask for the most probable tokens, then for the whole vocabulary if a label is not among them."""
        rows: dict[int, float] = {}
        for count in (_LLAMA_TOP, max(len(self.encoder.tokenizer), *labels) + 1):
            body = {"prompt": ids, "n_predict": 1, "n_probs": count, "temperature": 0, "post_sampling_probs": False}
            # the bias makes it draw a label: for a token that is half a character it returns no probabilities at all;
            # those that it returns are from before the bias
            found = self._remote.ask("/completion", body | {"logit_bias": [[labels[0], _SURE]]})
            self._same_length(found.get("tokens_evaluated"), ids)
            rows = self._read("log-probabilities", _llama_cpp_rows, found)
            if all(label in rows for label in labels):
                break
        return [self._of(rows, label, "llama.cpp did not return it for the whole vocabulary") for label in labels]

    def _generic(self, ids: list[int], labels: list[int]) -> list[float]:
        found = self._top_logprobs(self._complete(self._one_token(ids) | {"logprobs": _TOP}, ids))
        names = [self.encoder.tokenizer.decode([label]) for label in labels]
        hint = f"the server's list ends after {len(found)} tokens; serve the model with vLLM, SGLang or llama.cpp"
        return [self._of(found, name, hint) for name in names]

    def _top_logprobs(self, found: dict[str, Any]) -> dict[str, float]:
        def first(reply: dict[str, Any]) -> dict[str, float]:
            return {token: float(p) for token, p in reply["choices"][0]["logprobs"]["top_logprobs"][0].items()}

        return self._read("log-probabilities of the next token; its route must know `logprobs`", first, found)

    def _read(self, what: str, reading: Callable[[dict[str, Any]], T], reply: dict[str, Any]) -> T:
        """Return what `reading` takes out of a reply; `ModelError` if the reply has another form."""
        try:
            return reading(reply)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                f"{self._remote.root}: the reply has no {what} ({error!r}; found: {', '.join(sorted(reply))})"
            ) from None

    def _of(self, found: dict[Any, float], key: Any, hint: str) -> float:
        if key not in found:
            raise ModelError(f"{self._remote.root}: no log-probability of label {key!r}: {hint}")
        return found[key]

    def _finite(self, row: list[float], choices: Sequence[str]) -> list[float]:
        for choice, value in zip(choices, row, strict=True):
            if not math.isfinite(value):
                raise ModelError(
                    f"{self._remote.root}: the log-probability of {choice!r} is {value}; restart the server"
                )
        return row

    def _complete(self, body: dict[str, Any], ids: list[int]) -> dict[str, Any]:
        found = self._remote.ask(f"{self._path}/completions", body)
        self._same_length((found.get("usage") or {}).get("prompt_tokens"), ids)
        return found

    def _same_length(self, counted: object, ids: list[int]) -> None:
        if counted is not None and counted != len(ids):
            raise ModelError(
                f"{self._remote.root}: the server read {counted} tokens where {len(ids)} were sent; it applies a "
                "template or adds tokens of its own, so its scores would not be ours: switch that off"
            )

    def _one_token(self, ids: list[int]) -> dict[str, Any]:
        return {"model": self.name, "prompt": ids, "max_tokens": 1, "temperature": 0}

    def _sampling(self, ids: list[int], params: SamplingParams) -> dict[str, Any]:
        end = self.encoder.tokenizer.decode(self.encoder.end_ids[-1:])
        avoided = self.encoder.label_ids((params.not_first,)) if params.not_first else []
        return {
            "model": self.name,
            "prompt": ids,
            "max_tokens": params.max_new_tokens,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "seed": params.seed,
            "stop": [stop for stop in (*params.stop, end) if stop],
            **({"logit_bias": {str(i): -100 for i in avoided}} if avoided else {}),  # anywhere; there is no first alone
        }

    def _all(self, work: Callable[[list[int]], T], encoded: Sequence[list[int]]) -> list[T]:
        with ThreadPoolExecutor(max_workers=self._concurrency) as pool:
            waiting = [pool.submit(work, ids) for ids in encoded]
            try:
                return [future.result() for future in waiting]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _served(self) -> list[dict[str, Any]]:
        found = self._remote.ask(f"{self._path}/models", may_lack=True)
        return [model for model in found.get("data") or [] if isinstance(model, dict)]

    def _only(self, served: list[dict[str, Any]]) -> str:
        names = [str(model.get("id")) for model in served]
        if len(names) != 1:
            raise ModelError(
                f"{self._remote.root}: it serves {len(names)} models ({', '.join(names) or 'none named'}); "
                f"name one: --model '{FORM}'"
            )
        return names[0]

    def _kind(self, served: list[dict[str, Any]]) -> Kind:
        owners = [model.get("owned_by") for model in served]
        return next((kind for owner, kind in _OWNERS.items() if owner in owners), "generic")

    def _check_tokenizer(self, address: Address) -> None:
        """Raise `ContractError` if the server makes other tokens of the contract's words than its directory does.

        Ids of one tokenizer are other words to another, and would get scores all the same. vLLM, SGLang and llama.cpp
        can be asked to tokenise a text; for other servers, the user must have named the directory in the address.
        """
        turns, root = self.contract.format.turns, self._remote.root
        labels = [turns.generation + turns.before_target + label for label in self.contract.labels]
        for text in (*labels, turns.start + self.contract.format.wordings.system):
            found = None if self.kind == "generic" else self._tokenised(text)
            if found is None and not address.named:
                raise ContractError(
                    f"{root}: which tokenizer it has cannot be asked there; name the directory with the tokenizer and "
                    f"the contract of its model after #: --model '{FORM}'"
                )
            if found is None:
                return
            ours = self.encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
            if found != ours:
                raise ContractError(
                    f"{root}: it makes tokens {_last(found)} of text that ends in {text[-20:]!r}, and the tokenizer in "
                    f"{address.directory} makes {_last(ours)}; name the directory of its own model after #: "
                    f"--model '{FORM}'"
                )

    def _tokenised(self, text: str) -> list[int] | None:
        """Return the server's tokens for a text with special tokens in it; None if it has no such route."""
        body: dict[str, Any] = {"model": self.name, "prompt": text, "add_special_tokens": False}
        if self.kind == "llama.cpp":
            body = {"content": text, "add_special": False, "parse_special": True}
        path = f"{self._path.removesuffix('/v1')}/tokenize"
        tokens = self._remote.ask(path, body, may_lack=True).get("tokens")
        return tokens if isinstance(tokens, list) else None


def _llama_cpp_rows(reply: dict[str, Any]) -> dict[int, float]:
    return {int(t["id"]): float(t["logprob"]) for t in reply["completion_probabilities"][0]["top_logprobs"]}


def _last(ids: list[int]) -> str:
    return f"{'… ' if len(ids) > 4 else ''}{', '.join(map(str, ids[-4:]))}"
