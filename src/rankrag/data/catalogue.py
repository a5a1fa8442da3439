"""Every benchmark by name: sets that bring their passages, declared here, and those of the paper (`fourteen`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rankrag.config import SetConfig
from rankrag.data.fourteen import DPR_SPLITS, PAPER
from rankrag.data.sets import Benchmark
from rankrag.errors import ConfigError

_SQUAD = ("squad/squad.corpus.jsonl.zst",)


def _ours(name: str, title: str, path: str, corpora: tuple[str, ...], **changed: object) -> Benchmark:
    """Return a set in the form of docs/data.md whose passages come with it."""
    basis = Benchmark(
        name,
        title,
        f"{path}.jsonl.zst",
        corpora or (f"{path.partition('.')[0]}.corpus.jsonl.zst",),
        "R@1",
        split=path.rpartition(".")[2],
        source=f"a file of one's own, {path}.jsonl.zst",
        corpus="the set's own passages",
    )
    return replace(basis, **changed)  # type: ignore[arg-type]


OWN_PASSAGES: tuple[Benchmark, ...] = (
    _ours("squad", "SQuAD", "squad/squad.dev", (), target=(0.40, 0.70), reading=True),
    _ours(
        "nq",
        "NQ + wiki",
        "openqa/nq_qed.dev",
        ("openqa/nq_qed.corpus.jsonl.zst", "openqa/wiki_distractors.corpus.jsonl.zst"),
        target=(0.55, 0.70),
    ),
    _ours("popqa", "PopQA", "openqa/popqa.test", ()),
    _ours("hotpotqa", "HotpotQA", "multihop/hotpotqa.dev", (), metric="all-gold@5", target=(0.50, 0.65)),
    _ours("2wiki", "2Wiki", "multihop/2wiki.dev", (), metric="all-gold@5"),
    _ours(
        "fever_symmetric",
        "FEVER-symmetric, evidence given",
        "openqa/fever_symmetric.dev",
        (),
        metric=None,
        style="claim",
        evidence=True,
        answer_metrics=("FEVER accuracy",),
    ),
    _ours(
        "doc2dial",
        "Doc2Dial",
        "conversational/doc2dial.dev",
        (),
        metric="R@5",
        style="conversation",
        target=(0.45, 0.65),
        answer_metrics=("ChatRAG F1", "EM", "F1"),
    ),
    _ours(
        "inscit",
        "INSCIT",
        "conversational/inscit.dev",
        (),
        metric="R@5",
        style="conversation",
        answer_metrics=("ChatRAG F1", "EM", "F1"),
    ),
    _ours(
        "topiocqa",
        "TopiOCQA",
        "conversational/topiocqa.dev",
        (),
        metric="answer-recall@20",
        style="conversation",
        corpus="the set's own Wikipedia (the authors' full_wiki_segments.tsv), as a file of one's own",
        answer_metrics=("ChatRAG F1", "EM", "F1"),
    ),
    _ours(
        "pubmedqa",
        "PubMedQA",
        "biomedical/pubmedqa.test",
        (),
        style="choice",
        answer_metrics=("MIRAGE accuracy", "MIRAGE strict", "MIRAGE parsed"),
    ),
    _ours("bioasq", "BioASQ", "biomedical/bioasq.test", (), metric="R@5"),
    Benchmark(
        "msmarco",
        "MS MARCO (own candidates)",
        "ranking/msmarco.dev.jsonl.zst",
        (),
        "hit@1",
        style=None,
        target=(0.36, 0.42),
        split="dev",
        source="a file of one's own, ranking/msmarco.dev.jsonl.zst",
        corpus="about eight candidates a question",
        answer_metrics=(),
    ),
    *(
        _ours(
            f"trec_dl{year}",
            f"TREC DL 20{year}",
            f"ranking/trec_dl{year}.test",
            (),
            metric="NDCG@10",
            style=None,
            small_sample=20,
            target=(0.58, 0.65) if year == 19 else None,
            answer_metrics=(),
        )
        for year in (19, 20, 21)
    ),
    _ours(
        "squad2_unanswerable",
        "SQuAD 2.0, unanswerable",
        "squad/squad2_unanswerable.dev",
        _SQUAD,
        unanswerable=True,
        answer_metrics=(),
    ),
)
"""Sets in the form of docs/data.md that bring their passages, in the order of the report."""


def own_set(config: SetConfig) -> Benchmark:
    """Return a set that a configuration declares; `ConfigError` where its name is taken."""
    if config.name in BENCHMARKS:
        raise ConfigError(f"sets: {config.name}: the name of a known set; give yours another")
    return Benchmark(
        config.name,
        config.name,
        config.rows,
        config.corpora,
        config.metric,
        style=config.style,
        split="all",
        schema=config.form,
        companion=config.companion,
        subset=config.subset,
        source="a file of one's own",
        corpus=", ".join(config.corpora) or "those that come with each question",
        answer_metrics=config.answer_metrics if config.style else (),
    )


BENCHMARKS: Mapping[str, Benchmark] = {b.name: b for b in (*OWN_PASSAGES, *PAPER, *DPR_SPLITS)}
"""Every set, by name."""
