from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from math import log2

import pytest

from rankrag.contract import Contract
from rankrag.data.files import write_rows
from rankrag.errors import ConfigError, DataError
from rankrag.evaluation.description import load_description
from rankrag.evaluation.measuring import Settings, among_five, final_contexts
from rankrag.evaluation.report import render
from rankrag.evaluation.run import evaluate
from rankrag.evaluation.summary import load_summary
from rankrag.models.fake import FakeLanguageModel
from rankrag.rerank import Judgement
from rankrag.templates import UNANSWERABLE

SETS = ("squad", "doc2dial", "msmarco", "trec_dl19", "squad2_unanswerable")


def golden(reply="golden land", **contract):
    return FakeLanguageModel(yes_if="golden", reply=reply, contract=replace(Contract(), **contract))


def of(summary, name):
    return next(found for found in summary.sets if found.name == name)


@pytest.fixture
def run(data, tmp_path, encoder):
    def call(model=None, **options):
        return evaluate(data, tmp_path / "run", model=model, model_name="m", encoder=encoder, **options)

    return call


def test_without_a_model_only_first_stages_are_measured(run):
    summary = run(benchmarks=SETS)
    squad = of(summary, "squad")
    assert [row.retriever for row in squad.first_stages] == ["bm25", "dense", "hybrid"]
    assert squad.first_stages[0].figures["R@1"].mean == 0.5
    assert squad.first_stages[0].figures["R@5"].mean == 1.0
    # q1 has its gold passage in the second place, q2 in the first.
    assert squad.first_stages[0].figures["NDCG@10"].mean == pytest.approx((1 + 1 / log2(3)) / 2)
    assert (squad.reranked, squad.answers, squad.reading, squad.refusals) == ((), None, None, None)
    talks = of(summary, "doc2dial").first_stages
    assert {(row.retriever, row.history): row.figures["R@1"].mean for row in talks if row.retriever == "bm25"} == {
        ("bm25", "last"): 1.0,
        ("bm25", "all"): 0.0,
        ("bm25", "both"): 1.0,
    }
    assert of(summary, "squad2_unanswerable").first_stages == ()
    assert summary.model == ""


def test_reranking_is_measured_pure_and_blended_over_each_first_stage(run):
    contract = {"similarity_weight": 1000.0, "similarity_encoder": "stub@1"}
    squad = of(run(golden(**contract), benchmarks=["squad"], retrievers=["bm25"]), "squad")
    (row,) = squad.reranked
    assert row.retriever == "bm25"
    assert (row.first["R@1"].mean, row.pure["R@1"].mean, row.blended["R@1"].mean, row.reachable) == (0.5, 1, 0.5, 1)
    # The decoy is nearer to its question than the golden passage that the model prefers by 4.39.
    assert (row.gap_pure.mean, row.gap_blended.mean) == (1.0, 0.0)
    assert squad.target == (0.40, 0.70)


def test_own_candidates_and_given_rankings_are_reranked(run):
    summary = run(golden(), benchmarks=["msmarco", "trec_dl19"])
    msmarco, trec = of(summary, "msmarco").reranked[0], of(summary, "trec_dl19").reranked[0]
    assert (msmarco.first["hit@1"].mean, msmarco.pure["hit@1"].mean) == (0, 1)
    best = 3 + 1 / log2(3)
    assert trec.first["NDCG@10"].mean == pytest.approx((1 + 3 / log2(4)) / best)
    assert trec.pure["NDCG@10"].mean == pytest.approx(1.0)
    assert of(summary, "trec_dl19").answers is None


def test_answers_are_scored_with_and_without_reranking(run):
    def reply(prompt):
        first = next(s.text for s in prompt if s.kind == "passage")
        return "golden land" if "golden" in first else "no idea"

    found = of(run(golden(reply), benchmarks=["squad"], retrievers=["bm25"], k=1), "squad").answers
    # Reranked, both questions get a golden passage: right for q1, half right for q2 (F1 of "golden land": 2/3).
    assert (found.em.mean, found.f1.mean) == (0.5, pytest.approx((1 + 2 / 3) / 2))
    assert (found.em_first_stage.mean, found.f1_first_stage.mean) == (0.0, pytest.approx((0 + 2 / 3) / 2))
    assert found.f1_gain.mean == pytest.approx(0.5)


def test_reading_counts_citations_against_the_gold_passage(run):
    found = of(run(golden("golden land"), benchmarks=["squad"], retrievers=["bm25"]), "squad").reading
    # "golden land" stands only in the Tagus's passage, which is among q2's five as well.
    assert (found.em_gold.mean, found.f1_gold.mean) == (0.5, pytest.approx(5 / 6))
    assert (found.five.precision.mean, found.five.recall.mean) == (0.5, 0.5)


def test_the_pipeline_reads_the_best_of_the_five(run):
    found = of(run(golden("golden land"), benchmarks=["squad"], retrievers=["bm25"], k=1), "squad").reading
    # q2's own passage is golden and the first of its five, so nothing is read or cited from the Tagus's.
    assert (found.five.recall.mean, found.ranked.recall.mean, found.ranked.precision.mean) == (0.5, 1.0, 1.0)
    assert (found.ranked.em.mean, found.ranked.f1.mean) == (0.5, pytest.approx(5 / 6))


def test_a_refusal_cites_nothing_and_counts_against_recall(run):
    found = of(run(golden(UNANSWERABLE), benchmarks=["squad"], retrievers=["bm25"]), "squad").reading
    assert (found.five.precision, found.five.recall.mean) == (None, 0.0)


def test_refusals_come_from_the_threshold_or_from_the_reply(run):
    def reply(prompt):
        return UNANSWERABLE if any("tagus" in s.text for s in prompt if s.kind == "text") else "golden"

    summary = run(golden(reply, abstain_below=0.0), benchmarks=["squad", "squad2_unanswerable"], retrievers=["bm25"])
    answerable, unanswerable = of(summary, "squad").refusals, of(summary, "squad2_unanswerable").refusals
    assert (answerable.answerable, answerable.refused.mean, answerable.below_threshold) == (True, 0.5, 0.0)
    assert answerable.near_found is None
    # u1's only candidate is the lake, not golden; u2 gets the golden Ebro and not its near paragraph.
    assert (unanswerable.answerable, unanswerable.refused.mean, unanswerable.below_threshold) == (False, 0.5, 0.5)
    assert (unanswerable.near_found, unanswerable.refused_near.mean) == (0.5, 1.0)
    assert of(summary, "squad2_unanswerable").reranked == ()


def test_a_second_run_asks_the_model_nothing_and_finds_the_same(run, tmp_path):
    first = run(golden(), benchmarks=SETS)
    assert load_summary(tmp_path / "run") == first
    again = golden()
    assert run(again, benchmarks=SETS).sets == first.sets
    assert again.prompts == []


def test_a_run_goes_on_where_a_kill_cut_its_journals(run, tmp_path):
    whole = run(golden(), benchmarks=SETS)
    journals = sorted((tmp_path / "run").glob("*/**/*.jsonl"))
    assert {path.name for path in journals} >= {"judgements.jsonl", "replies.jsonl", "citations.jsonl"}
    for path in journals:
        text = path.read_bytes()
        path.write_bytes(text[: len(text) * 2 // 3])
    assert run(golden(), benchmarks=SETS).sets == whole.sets


def test_another_model_starts_its_own_journals(run):
    run(golden(), benchmarks=["squad"])
    other = golden(passage_tokens=100)
    run(other, benchmarks=["squad"])
    assert other.prompts


def test_a_model_directory_is_shown_by_its_name(data, tmp_path):
    (tmp_path / "mini").mkdir()
    options = {"benchmarks": ["msmarco"], "model": golden()}
    assert evaluate(data, tmp_path / "run", model_name=str(tmp_path / "mini"), **options).model == "mini"
    assert evaluate(data, tmp_path / "run", model_name="org/mini", **options).model == "org/mini"


def test_dense_alone_makes_no_hybrid(run):
    found = of(run(golden(), benchmarks=["squad"], retrievers=["dense"]), "squad")
    assert [row.retriever for row in found.first_stages] == ["dense"]
    assert [row.retriever for row in found.reranked] == ["bm25"]


def test_a_sample_is_drawn_and_zero_takes_all(run):
    assert of(run(golden(), benchmarks=["squad"], sample=1), "squad").reranked[0].questions == 1
    assert of(run(golden(), benchmarks=["squad"], sample=0), "squad").reranked[0].questions == 2


def test_unknown_names_and_impossible_numbers_are_refused(run):
    with pytest.raises(ConfigError, match="squat, bm52: not known"):
        run(benchmarks=["squat"], retrievers=["bm52"])
    with pytest.raises(ConfigError, match="n=2, k=3"):
        run(n=2, k=3)


def test_a_folder_without_an_evaluation_says_so(tmp_path):
    with pytest.raises(DataError, match=r"no evaluation there .*rankrag evaluate"):
        load_summary(tmp_path)
    (tmp_path / "evaluation.json").write_text("{}")
    with pytest.raises(DataError, match="not an evaluation"):
        load_summary(tmp_path)


def test_five_passages_hold_the_gold_one_in_a_seeded_place(loaded):
    q1 = loaded("squad").questions[0]
    lexical = {"q1": ("a", "s/tagus/0", "b", "c", "d", "e")}
    places = {among_five(q1, lexical, seed).index("s/tagus/0") for seed in range(40)}
    assert places == {0, 1, 2, 3, 4}
    assert set(among_five(q1, lexical, 0)) == {"a", "b", "c", "d", "s/tagus/0"}
    assert among_five(q1, lexical, 3) == among_five(q1, lexical, 3)


def test_the_contexts_are_the_first_k_of_the_reranked_n(loaded):
    q1 = loaded("squad").questions[0]
    judged = {"q1": {name: Judgement(odds, 0.5) for name, odds in (("a", 0.0), ("b", 2.0), ("c", 1.0), ("d", 9.0))}}
    found = final_contexts(q1, {"q1": ("a", "b", "c", "d")}, judged, Settings(n=3, k=2))
    assert found == ("b", "c")


def test_measuring_loads_no_torch_and_no_command_line():
    code = (
        "import sys, rankrag.evaluation.run, rankrag.fitting.fit, rankrag.evaluation.report;"
        "import rankrag.evaluation.examples; print(sorted({'torch', 'transformers', 'rankrag.cli'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_frozen_run_of_a_set_without_gold_passages_is_judged_by_the_answers(run, data):
    rows = [{"id": "n1", "input": "which river", "output": [{"answer": "Tagus"}]}]
    write_rows(data / "kilt/nq-dev-kilt.jsonl", rows)
    write_rows(
        data / "runs/nq-kilt.passages.jsonl",
        [{"id": str(i), "text": f"river {i}"} for i in range(6)] + [{"id": "6", "text": "the golden Tagus"}],
    )
    (data / "runs/nq-kilt.trec").write_text("".join(f"n1 Q0 {i} {i + 1} {-i} x\n" for i in range(7)))
    found = of(run(golden(reply="The Tagus"), benchmarks=["nq-kilt"], retrievers=["bm25"], n=10), "nq-kilt")
    (first,) = found.first_stages
    assert {name: value.mean for name, value in first.figures.items()} == {
        "answer-recall@5": 0,
        "answer-recall@10": 1,
        "answer-recall@20": 1,
    }
    (row,) = found.reranked
    assert (row.first["answer-recall@5"].mean, row.pure["answer-recall@5"].mean, row.reachable) == (0, 1, 1)
    assert found.answers.em.mean == 1


def test_a_first_stage_that_was_frozen_gives_the_same_figures_without_the_corpus(run, data, tmp_path):
    first = run(golden(), benchmarks=["squad"], retrievers=["bm25"], freeze_in=data)
    (data / "squad/squad.corpus.jsonl.zst").unlink()
    again = run(golden(), benchmarks=["squad"], retrievers=["bm25"]).sets
    assert [replace(of, first_stage="") for of in again] == list(first.sets)
    (described,) = load_description(tmp_path / "run").sets
    assert (described.corpus, described.first_stage) == ("the set's own passages", "bm25")
    text = render(run(golden(), benchmarks=["squad"], retrievers=["bm25"]))
    assert "| SQuAD | bm25 (given) | 2 |" in text
    assert "≥" not in text.partition("### Share")[2].partition("###")[0].partition("|---")[2]
    with pytest.raises(ConfigError, match="bm25, dense, hybrid: one first stage can be frozen"):
        run(benchmarks=["squad"], freeze_in=data)


def test_a_frozen_run_may_lack_a_gold_passage(run, data, tmp_path):
    write_rows(data / "runs/squad.passages.jsonl", [{"id": i, "text": i} for i in ("s/decoy/0", "s/ebro/0")])
    (data / "runs/squad.trec").write_text("q1 Q0 s/decoy/0 1 1 x\nq2 Q0 s/ebro/0 1 1 x\n")
    found = of(run(golden(), benchmarks=["squad"], retrievers=["bm25"]), "squad")
    (described,) = load_description(tmp_path / "run").sets
    assert described.corpus.endswith("; a frozen run")
    assert described.first_stage == "a ranking of unknown make"
    assert (found.first_stages[0].figures["R@1"].mean, found.reading.questions) == (0.5, 1)


def test_a_set_without_judgements_is_answered_all_the_same(run, data):
    write_rows(data / "openqa/fever_symmetric.corpus.jsonl.zst", [{"id": i, "text": i} for i in ("s0", "s1")])
    labelled = {"options": {"A": "SUPPORTS", "B": "REFUTES"}, "label": "B", "answers": ["REFUTES"]}
    row = {"id": "f", "question": "A claim.", "positive_ids": ["s1"], **labelled}
    write_rows(data / "openqa/fever_symmetric.dev.jsonl.zst", [row])
    model = golden(reply="REFUTES")
    found = of(run(model, benchmarks=["fever_symmetric"], retrievers=["bm25"]), "fever_symmetric")
    assert (found.first_stages, found.reranked, found.metric) == ((), (), "")
    assert found.answers.own["FEVER accuracy"].mean == 1
    assert [s.text for s in model.prompts[-1] if s.kind == "passage"] == ["s1"]


def test_by_default_all_sets_that_are_at_hand_are_measured(run, tmp_path, encoder):
    assert [found.name for found in run(retrievers=["bm25"]).sets] == [
        "squad",
        "doc2dial",
        "msmarco",
        "trec_dl19",
        "squad2_unanswerable",
    ]
    with pytest.raises(ConfigError, match="no set is there; `rankrag evaluate --list`"):
        evaluate(tmp_path / "nowhere", tmp_path / "run2")


def test_the_machines_that_filled_a_run_folder_are_all_named(run):
    assert run(golden(), benchmarks=["squad"], machine="a GPU").machine == "a GPU"
    assert run(golden(), benchmarks=["squad"], machine="two cores").machine == "a GPU; two cores"
    assert run(golden(), benchmarks=["squad"], machine="a GPU").machine == "a GPU; two cores"
