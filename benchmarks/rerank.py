"""Reranking speed against rivals that do the same work, in one run: `make bench`.

The work: every prompt of some questions with their BM25 passages from the example documents, scored by the log-odds
of `True` against `False`, with rankrag-mini on this machine. The rivals score the same text with the same weights in
the same number type: sentence-transformers' CrossEncoder for causal models (LogitScore), and the loop that model
cards show (one prompt at a time, logits of every position). Ours is also shown with a row for each prompt, which
tells what prefix and tails save, and with every passage known from an earlier question; `--int8` adds int8 matrix
products, which change scores. Printed are prompts a second, the ratio to ours, and by how much the scores differ at
most.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder.modules import LogitScore

from rankrag.documents.loading import Loaded, load_documents
from rankrag.documents.readers import find_files
from rankrag.models.mini import prepare_mini
from rankrag.models.state_cache import StateCache
from rankrag.models.transformers import TransformersModel
from rankrag.parity import int8
from rankrag.rerank import judge
from rankrag.retrieval.snapshot import SourcePassages
from rankrag.retrieval.store import PassageStore
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question

EXAMPLES = Path(__file__).parents[1] / "examples"
Pairs = list[tuple[Question, Passage]]
Scorer = Callable[[Pairs], list[float]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--questions", type=int, default=5)
    parser.add_argument("--n", type=int, default=20, help="passages of a question")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--int8", action="store_true", help="also torch.ao's dynamic quantisation")
    wanted = parser.parse_args()
    model = TransformersModel(prepare_mini(print), dtype=wanted.dtype)
    pairs = example_pairs(wanted.questions, wanted.n)
    scorers: dict[str, Scorer] = {
        "rankrag": lambda pairs: [j.log_odds for j in judge(model, pairs)],
        "rankrag, passages known": with_states(model, pairs),
        "rankrag, a row for each prompt": row_for_each(model),
        "sentence-transformers CrossEncoder": cross_encoder(model),
        "one prompt at a time": one_by_one(model),
    }
    if wanted.int8 and (quantised := int8(model)) is not None:
        scorers["rankrag, int8"] = lambda pairs: [j.log_odds for j in judge(quantised, pairs)]
    print(f"{len(pairs)} prompts, {torch.get_num_threads()} threads, {model.model.dtype}, best of {wanted.repeats}")
    seconds: dict[str, float] = dict.fromkeys(scorers, float("inf"))
    scores: dict[str, list[float]] = {}
    for _ in range(wanted.repeats):
        for name, scorer in scorers.items():
            started = time.perf_counter()
            scores[name] = scorer(pairs)
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    for name, taken in seconds.items():
        apart = max(abs(a - b) for a, b in zip(scores[name], scores["rankrag"], strict=True))
        print(
            f"{name:36} {len(pairs) / taken:7.2f} prompts/s   {taken / seconds['rankrag']:5.2f} x our time   "
            f"log-odds differ by at most {apart:.3f}"
        )


def example_pairs(count: int, n: int) -> Pairs:
    """Return the first questions of the examples, each with its `n` best passages by BM25."""
    rows = [json.loads(line) for line in (EXAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    questions = [Question(row["id"], row["question"]) for row in rows[:count]]
    with tempfile.TemporaryDirectory() as folder:
        store = PassageStore.create_or_open(Path(folder) / "index")
        store.put(list(_documents()))
        rankings = store.lexical().retrieve([q.text for q in questions], n)
    return [(q, c.passage) for q, ranking in zip(questions, rankings, strict=True) for c in ranking]


def with_states(model: TransformersModel, pairs: Pairs) -> Scorer:
    """Return our scoring when another question has been asked of the same passages before."""
    warm = copy.copy(model)
    warm.states = StateCache(memory_bytes=8 << 30)
    judge(warm, [(Question("", "Is it known?"), passage) for _, passage in pairs])
    return lambda pairs: [j.log_odds for j in judge(warm, pairs)]


def row_for_each(model: TransformersModel) -> Scorer:
    """Return our scoring of models that cannot share prefixes: padded batches, the head at last tokens only."""

    def score(pairs: Pairs) -> list[float]:
        prompts = [ranking_prompt(model.contract.format, question, passage) for question, passage in pairs]
        rows = model.plain_logprobs(model.encoder.encode(prompts), list(model.contract.label_ids))
        return [true - false for _, (true, false) in sorted(rows)]

    return score


def cross_encoder(model: TransformersModel) -> Scorer:
    """Return sentence-transformers' reranker for causal models, given our prompt as its chat template."""
    marks = ("\ue000question\ue000", "\ue000passage\ue000")
    prompt = ranking_prompt(model.contract.format, Question("", marks[0]), Passage("", marks[1]))
    text = "".join(segment.text for segment in prompt)
    template = "{% set q = messages | selectattr('role', 'eq', 'query') | map(attribute='content') | first %}"
    template += "{% set d = messages | selectattr('role', 'eq', 'document') | map(attribute='content') | first %}"
    template += text.replace(marks[0], "{{ q }}").replace(marks[1], "{{ d }}")
    backbone = Transformer(model.model.name_or_path, transformer_task="text-generation")
    backbone.model.to(model.model.dtype)
    true, false = model.contract.label_ids
    rival = CrossEncoder(modules=[backbone, LogitScore(true, false)], device=str(model.device))
    rival[0].processor.chat_template = template
    form = model.contract.format

    def score(pairs: Pairs) -> list[float]:
        texts = [(q.text, _passage_segment(ranking_prompt(form, q, p))) for q, p in pairs]
        found: list[float] = rival.predict(texts, batch_size=32, activation_fn=torch.nn.Identity()).tolist()
        return found

    return score


def one_by_one(model: TransformersModel) -> Scorer:
    """Return the loop of the model cards: a forward pass a prompt, logits at every position."""

    @torch.inference_mode()
    def score(pairs: Pairs) -> list[float]:
        found = []
        true, false = model.contract.label_ids
        for question, passage in pairs:
            (encoded,) = model.encoder.encode([ranking_prompt(model.contract.format, question, passage)])
            last = model.model(torch.tensor([encoded.ids], device=model.device)).logits[0, -1].float()
            found.append(float(last[true] - last[false]))
        return found

    return score


def _passage_segment(prompt: tuple) -> str:
    return next(segment.text for segment in prompt if segment.kind == "passage")


def _documents() -> Iterator[SourcePassages]:
    for outcome in load_documents(find_files([EXAMPLES / "corpus"]).files, {}):
        assert isinstance(outcome, Loaded), outcome
        yield SourcePassages(outcome.path, outcome.sha256, outcome.passages)


if __name__ == "__main__":
    main()
