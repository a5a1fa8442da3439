from __future__ import annotations

from math import log2

import pytest

from rankrag.config.evaluation import ComparisonConfig
from rankrag.data.files import write_rows
from rankrag.evaluation.lines import read_question_lines
from rankrag.evaluation.parts import Openers
from rankrag.evaluation.run import Settings, evaluate
from rankrag.evaluation.standard import standard_systems
from rankrag.evaluation.systems import System
from rankrag.templates import UNANSWERABLE
from tests.evaluation.conftest import golden

SETS = ("squad", "doc2dial", "msmarco", "trec_dl19", "squad2_unanswerable")


@pytest.fixture
def run(data, tmp_path, encoder):
    """Evaluate the built-in systems."""

    def call(model=None, sets=("squad",), retrievers=("bm25",), n=20, k=None, **settings):
        wanted = ComparisonConfig(model="none" if model is None else "mini", retrievers=retrievers, n=n, k=k)
        systems = standard_systems(wanted)
        openers = Openers(lambda name: (model, name), lambda _: encoder)
        return evaluate(data, tmp_path / "run", systems, openers, Settings(**settings), sets=sets)

    return call


def test_the_first_system_is_what_ask_does_by_default():
    shipped = standard_systems(ComparisonConfig())[0]
    assert shipped == System(name="rankrag-mini")
    assert shipped.retriever == "hybrid"
    assert shipped.abstain
    assert shipped.k is None


def test_without_a_model_only_first_stages_are_measured(run):
    evaluation = run(sets=SETS, retrievers=("bm25", "dense", "hybrid"))
    squad = {f.system.name: f for f in evaluation.systems if f.of_set.name == "squad"}
    assert list(squad) == ["bm25 alone", "dense alone", "hybrid alone"]
    figures = squad["bm25 alone"].first
    assert figures["R@1"].mean == 0.5
    assert figures["R@5"].mean == 1.0
    # q1 has its gold passage in the second place, q2 in the first.
    assert figures["NDCG@10"].mean == pytest.approx((1 + 1 / log2(3)) / 2)
    talks = {f.system.name: f.first["R@1"].mean for f in evaluation.systems if f.of_set.name == "doc2dial"}
    assert talks["bm25 alone"] == 1.0
    assert talks["bm25 alone, all turns"] == 0.0
    assert talks["bm25 alone, last and all turns"] == 1.0
    assert [f for f in evaluation.systems if f.of_set.name == "squad2_unanswerable"] == []


def test_retrievers_are_measured_on_all_questions_and_models_on_a_sample(run):
    evaluation = run(golden(), sample=1)
    assert evaluation.of("squad", "bm25 alone").questions == 2
    assert evaluation.of("squad", "mini").questions == 1


def test_reranking_is_measured_with_and_without_the_encoder(run):
    contract = {"similarity_weight": 1000.0, "similarity_encoder": "stub@1"}
    evaluation = run(golden(**contract))
    blended, alone = evaluation.of("squad", "never withholds"), evaluation.of("squad", "P(True) alone")
    assert blended.first["R@1"].mean == 0.5
    # The decoy is nearer to its question than the golden passage that the model prefers by 4.39.
    assert blended.figures["R@1"].mean == 0.5
    assert alone.figures["R@1"].mean == 1.0
    assert alone.reachable == 1.0
    assert blended.gap.mean == 0.0
    assert alone.gap.mean == 1.0


def test_with_hybrid_retrieval_the_candidates_of_bm25_are_reranked_too(run):
    evaluation = run(golden(), retrievers=("bm25", "dense", "hybrid"))
    names = [system.name for system in evaluation.description.systems if system.role == "order"]
    assert names == ["P(True) alone", "bm25, reranked", "bm25, P(True) alone"]
    assert evaluation.of("squad", "bm25, reranked").first["R@1"].mean == 0.5


def test_own_candidates_and_given_rankings_are_reranked(run):
    evaluation = run(golden(), ["msmarco", "trec_dl19"])
    msmarco, trec = (evaluation.of(name, "mini") for name in ("msmarco", "trec_dl19"))
    assert msmarco.first["hit@1"].mean == 0
    assert msmarco.figures["hit@1"].mean == 1
    best = 3 + 1 / log2(3)
    assert trec.first["NDCG@10"].mean == pytest.approx((1 + 3 / log2(4)) / best)
    assert trec.figures["NDCG@10"].mean == pytest.approx(1.0)
    assert "refused" not in trec.figures


def test_answers_are_scored_with_and_without_reranking(run):
    def reply(prompt):
        first = next(s.text for s in prompt if s.kind == "passage")
        return "golden land" if "golden" in first else "no idea"

    evaluation = run(golden(reply), k=1)
    reranked, plain = evaluation.of("squad", "never withholds"), evaluation.of("squad", "not reranked")
    # Reranked, both questions get a golden passage: right for q1, half right for q2 (F1 of "golden land": 2/3).
    assert reranked.figures["EM"].mean == 0.5
    assert reranked.figures["F1"].mean == pytest.approx((1 + 2 / 3) / 2)
    assert plain.figures["EM"].mean == 0.0
    assert plain.figures["F1"].mean == pytest.approx((0 + 2 / 3) / 2)
    (gain,) = (pair for pair in evaluation.pairs if (pair.system, pair.metric) == ("not reranked", "F1"))
    assert gain.against == "never withholds"
    assert gain.difference.mean == pytest.approx(-0.5)


def test_reading_counts_citations_against_the_gold_passage(run):
    evaluation = run(golden("golden land"))
    gold, five = evaluation.of("squad", "gold passage"), evaluation.of("squad", "all five")
    # "golden land" is only in the Tagus's passage, which is among q2's five as well.
    assert gold.figures["EM"].mean == 0.5
    assert gold.figures["F1"].mean == pytest.approx(5 / 6)
    assert five.figures["citation precision"].mean == 0.5
    assert five.figures["citation recall"].mean == 0.5


def test_the_pipeline_reads_the_best_of_the_five(run):
    evaluation = run(golden("golden land"), k=1)
    best = evaluation.of("squad", "best of five")
    # q2's own passage is golden and the first of its five, so nothing is read or cited from the Tagus's.
    assert evaluation.of("squad", "all five").figures["citation recall"].mean == 0.5
    assert best.figures["citation recall"].mean == 1.0
    assert best.figures["citation precision"].mean == 1.0
    assert best.figures["EM"].mean == 0.5


def test_a_refusal_cites_nothing_and_counts_against_recall(run):
    five = run(golden(UNANSWERABLE)).of("squad", "all five")
    assert "citation precision" not in five.figures
    assert five.figures["citation recall"].mean == 0.0


def test_stopping_is_measured_against_judging_all(run):
    evaluation = run(golden(), k=1)
    early, full = evaluation.of("squad", "stops at 2"), evaluation.of("squad", "never withholds")
    assert early.figures["judged"].mean <= full.figures["judged"].mean
    assert early.same_contexts == 1.0
    assert early.figures["gold read"].mean == 1.0


def test_dense_alone_makes_no_hybrid(run):
    evaluation = run(golden(), retrievers=("dense",))
    assert {system.retriever for system in evaluation.description.systems} == {"dense", "gold", "five"}


def test_a_second_run_asks_the_model_nothing(run):
    first = run(golden(), SETS)
    again = golden()
    assert run(again, SETS).systems == first.systems
    assert again.prompts == []


def test_a_frozen_run_stands_for_every_retriever_and_may_lack_a_gold_passage(run, data, tmp_path):
    write_rows(data / "runs/squad.passages.jsonl", [{"id": i, "text": i} for i in ("s/decoy/0", "s/ebro/0")])
    (data / "runs/squad.trec").write_text("q1 Q0 s/decoy/0 1 1 x\nq2 Q0 s/ebro/0 1 1 x\n")
    evaluation = run(golden(), retrievers=("bm25", "dense", "hybrid"))
    (described,) = evaluation.description.sets
    assert described.corpus.endswith("; a frozen run")
    assert described.first_stage == "an unknown first stage"
    names = {f.system.name for f in evaluation.systems}
    assert "bm25 alone" in names
    assert names.isdisjoint({"dense alone", "hybrid alone", "bm25, P(True) alone"})
    assert evaluation.of("squad", "bm25 alone").first["R@1"].mean == 0.5
    assert evaluation.of("squad", "gold passage").questions == 1
    (path,) = (tmp_path / "run").glob("squad-*/system-gold-passage-*/questions.jsonl")
    assert [line.id for line in read_question_lines(path)] == ["q2"]
