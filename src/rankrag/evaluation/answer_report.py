"""The part of docs/results.md about answers: how good they are, what reranking brings, citations, refusals."""

from __future__ import annotations

from rankrag.evaluation.markdown import maybe, met, section
from rankrag.evaluation.metrics import mean_of
from rankrag.evaluation.summary import AnswerFigures, ExampleFigures, Summary

SQUAD_EM = 0.50
CITED = 0.85
GAIN = 0.028
GAINS = {"nq": "EM", "hotpotqa": "EM", "doc2dial": "F1"}
"""Sets whose mean gain by reranking has a target, with the metric of each."""
UNANSWERABLE_REFUSED = 0.8
ANSWERABLE_REFUSED = 3 / 50


def answers(summary: Summary) -> str:
    """Return how good answers are with and without reranking, and what it brings."""
    rows = [
        [of.title, str(a.questions), *map(str, (a.em_first_stage, a.em, a.f1_first_stage, a.f1, a.f1_gain))]
        for of in summary.sets
        if (a := of.answers) and not _by_label(a)
    ]
    own = [
        [of.title, name, str(a.own_first_stage[name]), str(found)]
        for of in summary.sets
        if (a := of.answers)
        for name, found in a.own.items()
    ]
    text = (
        "## Answers\n\n"
        f"EM and F1 (as SQuAD scores them) of the answer from k = {summary.k} passages: the first ones of hybrid "
        "retrieval (of BM25 where hybrid was not run), and the first ones after its candidates were reranked, blended. "
        "Replies count as they are: a refusal in words is a wrong answer, and the threshold withholds nothing here."
    )
    header = ["set", "questions", "EM without", "EM reranked", "F1 without", "F1 reranked", "gain in F1"]
    own_text = (
        "### By the rules of each set\n\n"
        "Acc: an answer stands in the reply, letter for letter. ChatRAG F1 parts words at punctuation. FEVER accuracy "
        "reads the verdict. MIRAGE accuracy takes A where no letter is found, strict counts that as wrong, and parsed "
        "is the share with a letter."
    )
    own_header = ["set", "metric", "without", "reranked"]
    parts = (section(text, header, rows), section(own_text, own_header, own), _gain(summary))
    return "\n\n".join(part for part in parts if part)


def _gain(summary: Summary) -> str:
    """Return what reranking brings to answers, on the sets whose mean has a target, and that mean."""
    named = [(of, name) for of in summary.sets if (name := GAINS.get(of.name)) and of.answers]
    gains = [a.em_gain if name == "EM" else a.f1_gain for of, name in named if (a := of.answers)]
    rows = [[of.title, name, str(gain), ""] for (of, name), gain in zip(named, gains, strict=True)]
    if len(gains) == len(GAINS):
        mean = mean_of(gains)
        reached = met(mean.mean >= GAIN and mean.low > 0)
        rows.append(["mean", "", str(mean), f"≥ {GAIN:.3f} and the interval above 0: {reached}"])
    text = (
        "### What reranking brings\n\n"
        f"The paired gain from k = {summary.k} passages. The mean's interval takes the sets as independent."
    )
    return section(text, ["set", "metric", "gain", "target"], rows)


def _by_label(answers: AnswerFigures) -> bool:
    """Whether answers are labels, of which SQuAD's EM and F1 say nothing."""
    return any(name.startswith(("FEVER", "MIRAGE")) for name in answers.own)


def reading(summary: Summary) -> str:
    """Return how well the gold passage is read and cited."""
    read = [(of.title, of.reading) for of in summary.sets if of.reading]
    rows = [
        [
            title,
            str(r.questions),
            *map(str, (r.em_gold, r.f1_gold, r.five.em, r.five.f1, r.ranked.em, r.ranked.f1)),
            f"EM ≥ {SQUAD_EM:.2f}",
            met(r.em_gold.mean >= SQUAD_EM),
        ]
        for title, r in read
    ]
    best = f"best {summary.k} of them"
    text = (
        "## Reading\n\n"
        "The model gets the gold passage: alone, among BM25's four best others, shuffled, and among the best "
        f"{summary.k} of these five in its own order, as the pipeline reads. The target is for the gold passage alone."
    )
    header = ["set", "questions", "EM, alone", "F1, alone", "EM, of five", "F1, of five", f"EM, {best}", f"F1, {best}"]
    cited = [
        [
            title,
            read_from,
            maybe(of.precision),
            str(of.recall),
            str(of.always_first),
            f"both ≥ {CITED:.2f}",
            met(of.precision is not None and min(of.precision.mean, of.recall.mean) >= CITED),
        ]
        for title, r in read
        for read_from, of in ((f"the {best}", r.ranked), ("all five", r.five))
    ]
    cited_text = (
        "## Citations\n\n"
        "The gold passage among the same five. Precision is the share of citations that name it, of the answers that "
        "cite; recall is the share of all questions whose answer cites it, so a refusal counts against it. A system "
        "that always cites [1] gets the last figure in both: from the best one, it is how often that is the gold one. "
        "An answer from all five is often copied from a wrong one, which its citation then names."
    )
    cited_header = ["set", "read", "precision", "recall", "always [1]", "target", "met"]
    tables = (section(text, [*header, "target", "met"], rows), section(cited_text, cited_header, cited))
    return "\n\n".join(part for part in tables if part)


def refusals(summary: Summary) -> str:
    """Return how often the pipeline does not answer."""
    rows = [
        [
            of.title,
            "yes" if r.answerable else "no",
            str(r.questions),
            str(r.refused),
            f"{r.below_threshold:.3f}",
            "" if r.near_found is None else f"{r.near_found:.3f}",
            "" if r.near_found is None else maybe(r.refused_near),
        ]
        for of in summary.sets
        if (r := of.refusals)
    ]
    text = (
        "## Refusals\n\n"
        "How often the pipeline does not answer, because no passage reaches the threshold or because the reply says "
        "so. High is right for questions without an answer, low for all others. The unanswerable ones of SQuAD 2.0 "
        "are made to look answerable: the last two columns are about those whose look-alike paragraph was retrieved."
    )
    header = ["set", "answerable", "questions", "refused", "by the threshold", "look-alike found", "of these refused"]
    return section(text, header, rows)


def examples(of: ExampleFigures) -> str:
    """Return the figures of the example documents."""
    rows = [
        _count("unanswerable, refused", of.unanswerable_refused, of.unanswerable, UNANSWERABLE_REFUSED, at_least=True),
        _count("answerable, refused", of.answerable_refused, of.answerable, ANSWERABLE_REFUSED, at_least=False),
        ["EM of the answerable", f"{of.em:.3f}", "", ""],
        ["F1 of the answerable", f"{of.f1:.3f}", "", ""],
    ]
    if of.source_hit is not None:
        rows.append(["first citation from the right file", f"{of.source_hit:.3f}", "", ""])
    text = "## Examples\n\nThe questions of `examples/questions.jsonl` over `examples/corpus`, through the pipeline."
    return section(text, ["", "found", "target", "met"], rows)


def _count(name: str, refused: int, total: int, share: float, *, at_least: bool) -> list[str]:
    reached = refused >= share * total if at_least else refused <= share * total
    wanted = f"at {'least' if at_least else 'most'} {share:.0%}"
    return [name, f"{refused} of {total}", wanted, met(reached)]
