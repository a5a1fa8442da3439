"""The fourteen benchmarks of the paper (section 5.1, appendix A), and its other splits, declared.

A name that the paper uses for two splits always says which one it is: TriviaQA is 82.9 on KILT's and 68.8 on DPR's.
"""

from __future__ import annotations

from dataclasses import replace

from rankrag.config import HubConfig
from rankrag.data.sets import AnswerMetric, Benchmark, PaperSetting, Schema

WIKIPEDIA_2018 = "Wikipedia of Dec 2018 in passages of 100 words (DPR's psgs_w100.tsv)"
WIKIPEDIA_2020 = "Wikipedia of Dec 2020 in passages of 100 words (Atlas)"
PASSAGES = {WIKIPEDIA_2018: 21_015_324}
"""Passages of a corpus, where it is one file whose length is known."""
_OWN_DOCUMENT = "the chunks of the document that the dialogue is about"
MEDCORP = "MedCorp: PubMed, StatPearls, Textbooks, Wikipedia"
_DEC_2018, _DEC_2020 = ("wikipedia/psgs_w100.tsv",), ("wikipedia/enwiki-dec2020.jsonl",)
_MEDCORP = tuple(f"medcorp/{part}" for part in ("pubmed", "statpearls", "textbooks", "wikipedia"))
_FROM_2018 = "dl.fbaipublicfiles.com/dpr/wikipedia_split/psgs_w100.tsv.gz, unpacked"
_FROM_2020 = "dl.fbaipublicfiles.com/atlas/corpora/wiki/enwiki-dec2020/text-list-100-sec.jsonl"
_FROM_MEDRAG = "MedRAG/pubmed, statpearls, textbooks, wikipedia on the hub: the chunk/ of each as medcorp/PART/"
_FACTS: tuple[AnswerMetric, ...] = ("EM", "Acc", "F1")
# Found in one public repository only, which reads three of the tasks at this commit; the others stand in several.
_KILT = "0f7881c6bf693742af91a31b4d8f827db2f41233"


def _kilt(name: str, title: str, subset: str, size: int, **changed: object) -> Benchmark:
    """Return a set of KILT's dev part over the Wikipedia of 2018."""
    hub = HubConfig(name="facebook/kilt_tasks", subset=subset, split="validation", revision=_KILT)
    basis = Benchmark(
        f"{name}-kilt",
        f"{title} (KILT dev)",
        f"kilt/{name}-dev-kilt.jsonl",
        _DEC_2018,
        "answer-recall@5",
        split="KILT dev",
        schema="kilt",
        hub=hub,
        corpus=WIKIPEDIA_2018,
        corpus_source=_FROM_2018,
        answer_metrics=_FACTS,
        paper=PaperSetting("KILT dev", size, WIKIPEDIA_2018),
    )
    return replace(basis, **changed)  # type: ignore[arg-type]


def _dpr(name: str, title: str, file: str, size: int, hub_schema: Schema, hub: HubConfig) -> Benchmark:
    return Benchmark(
        f"{name}-dpr",
        f"{title} (DPR test)",
        f"dpr/{file}",
        _DEC_2018,
        "answer-recall-dpr@5",
        split="DPR test",
        schema="dpr",
        hub_schema=hub_schema,
        hub=hub,
        source=f"dl.fbaipublicfiles.com/dpr/data/retriever/{file}",
        corpus=WIKIPEDIA_2018,
        corpus_source=_FROM_2018,
        answer_metrics=_FACTS,
        paper=PaperSetting("DPR test", size, WIKIPEDIA_2018),
    )


def _chatrag(name: str, title: str, split: str, size: int, **changed: object) -> Benchmark:
    """Return a conversational set of ChatRAG-Bench, whose rows bring the passages that its retriever found."""
    basis = Benchmark(
        f"{name}-chatrag",
        f"{title} (ChatRAG {split})",
        f"chatrag/{name}/{split}.json",
        (),
        "answer-recall@20",
        style="conversation",
        split=split,
        schema="chatrag",
        hub=HubConfig(
            name="nvidia/ChatRAG-Bench",
            files=f"data/{name}/{split}.json",
            split=split,
            revision="22ece8bb870ddcf3f7aacfd5b6b0446d112a1e92",
        ),
        corpus="the 20 passages that come with each question, in the order of ChatQA's retriever",
        ranked_by="dense by dragon-multiturn",
        answer_metrics=("ChatRAG F1",),
        paper=PaperSetting(split, size, "whole Wikipedia, the set's own passages", "Dragon-multiturn", k=20),
    )
    return replace(basis, **changed)  # type: ignore[arg-type]


def _mirage(name: str, title: str, subset: str, split: str, size: int, paper_size: int | None = None) -> Benchmark:
    """Return a set of MIRAGE: the question alone is searched and ranked by, the options are for the answer."""
    return Benchmark(
        name,
        f"{title} (MIRAGE)",
        "mirage/benchmark.json",
        _MEDCORP,
        None,
        style="choice",
        split=split,
        schema="mirage",
        ours="biomedical/mirage.test.jsonl.zst",
        subset=subset,
        source="github.com/Teddy-XiongGZ/MIRAGE, benchmark.json of commit 224ebe9",
        corpus=MEDCORP,
        corpus_source=_FROM_MEDRAG,
        answer_metrics=("MIRAGE accuracy", "MIRAGE strict", "MIRAGE parsed"),
        paper=PaperSetting(split, paper_size or size, MEDCORP, "MedCPT", actual=size if paper_size else None),
    )


PAPER: tuple[Benchmark, ...] = (
    _kilt("nq", "NQ", "nq", 2837),
    _kilt(
        "triviaqa",
        "TriviaQA",
        "triviaqa_support_only",
        5355,
        rows="kilt/triviaqa-dev_id-kilt.jsonl",
        schema="kilt_triviaqa",
        companion="triviaqa/unfiltered.nocontext.validation.jsonl",
        paper=PaperSetting("KILT dev", 5355, WIKIPEDIA_2018, actual=5359),
    ),
    Benchmark(
        "popqa-longtail",
        "PopQA (long tail)",
        "popqa/popqa_longtail_w_gs.jsonl",
        _DEC_2020,
        "answer-recall@5",
        split="long tail, under 100 views a month",
        schema="popqa",
        hub=HubConfig(name="akariasai/PopQA", split="test", revision="098765c79ea10a2cb19c828324e33281b8336ec0"),
        source="github.com/AkariAsai/self-rag, popqa_longtail_w_gs.jsonl",
        corpus=WIKIPEDIA_2020,
        corpus_source=_FROM_2020,
        answer_metrics=_FACTS,
        paper=PaperSetting("long tail, under 100 views a month", 1399, WIKIPEDIA_2020),
    ),
    _kilt("hotpotqa", "HotpotQA", "hotpotqa", 5600),
    Benchmark(
        "2wikimqa",
        "2WikimQA (dev)",
        "2wikimultihopqa/dev.json",
        _DEC_2018,
        "answer-recall@5",
        split="dev",
        schema="2wiki",
        ours="multihop/2wiki_open.dev.jsonl.zst",
        hub=HubConfig(
            name="xanhho/2WikiMultihopQA",
            files="dev.parquet",
            split="dev",
            revision="612bc5039a457880d9e7d84c3b0a4cf154b70e4f",
        ),
        corpus=WIKIPEDIA_2018,
        corpus_source=_FROM_2018,
        answer_metrics=_FACTS,
        paper=PaperSetting("dev", 12576, WIKIPEDIA_2018),
    ),
    _kilt(
        "fever",
        "FEVER",
        "fever",
        10444,
        metric=None,
        style="claim",
        answer_metrics=("FEVER accuracy",),
    ),
    _chatrag(
        "doc2dial",
        "Doc2Dial",
        "test",
        3939,
        metric="R@5",
        companion="chatrag/doc2dial/documents.json",
        corpus=_OWN_DOCUMENT,
        ranked_by="",
        paper=PaperSetting("test", 3939, _OWN_DOCUMENT, "Dragon-multiturn", history="speakers"),
    ),
    _chatrag("topiocqa", "TopiOCQA", "dev", 2514),
    _chatrag("inscit", "INSCIT", "dev", 502),
    _mirage("mmlu-med", "MMLU-Med", "mmlu", "test", 1089),
    _mirage("medqa-us", "MedQA-US", "medqa", "test", 1273),
    _mirage("medmcqa", "MedMCQA", "medmcqa", "dev", 4183),
    _mirage("pubmedqa-star", "PubMedQA*", "pubmedqa", "test, without its contexts", 500, paper_size=1000),
    _mirage("bioasq-yn", "BioASQ-Y/N", "bioasq", "test, 2019-2023", 618),
)
"""The fourteen, in the order of the paper's tables 2 and 5."""

DPR_SPLITS: tuple[Benchmark, ...] = (
    _dpr(
        "nq",
        "NQ",
        "nq-test.qas.csv",
        3610,
        "nq_open",
        HubConfig(
            name="google-research-datasets/nq_open",
            subset="nq_open",
            split="validation",
            revision="5dd9790a83002ad084ddeb7c420dc716852c6f28",
        ),
    ),
    _dpr(
        "triviaqa",
        "TriviaQA",
        "trivia-test.qas.csv",
        11316,
        "triviaqa",
        HubConfig(
            name="mandarjoshi/trivia_qa",
            subset="unfiltered.nocontext",
            split="validation",
            revision="0f7faf33a3908546c6fd5b73a660e0f8ff173c2f",
        ),
    ),
)
"""The other splits of the paper (table 9)."""
