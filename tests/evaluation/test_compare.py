from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rankrag.config import ComparisonConfig
from rankrag.config_files import load_config
from rankrag.contract import Contract
from rankrag.data.catalogue import own_set
from rankrag.data.files import write_rows
from rankrag.errors import ConfigError, DataError, ModelError
from rankrag.evaluation import work
from rankrag.evaluation.aggregate import aggregated
from rankrag.evaluation.compare import compare
from rankrag.evaluation.comparison_report import render_comparison
from rankrag.evaluation.description import load_description
from rankrag.evaluation.questions import read_kept_passages, read_results
from rankrag.evaluation.systems import System
from rankrag.models.fake import FakeLanguageModel
from rankrag.rerank import Judgement
from rankrag.templates import UNANSWERABLE
from tests.data.own_sets import PASSAGES, passage_rows

SETS = ("squad", "doc2dial", "msmarco", "trec_dl19", "squad2_unanswerable")


def golden(reply="golden land", **contract):
    return FakeLanguageModel(yes_if="golden", reply=reply, contract=replace(Contract(), **contract))


def longer_is_better(kind, name):
    assert name == "some/encoder"
    return lambda pairs: [Judgement(float(len(p.text)), 0.25) for _, p in pairs]


MINI = System("mini", "mini")
SYSTEMS = (
    MINI,
    System("no rerank", "mini", "none"),
    System("closed book", "mini", "none", "none"),
    System("cross", "mini", "cross-encoder:some/encoder"),
    System("near", "none", "bi-encoder:some/encoder"),
    System("two models", "mini", "model:other"),
)


@pytest.fixture
def run(data, tmp_path):
    """Compare systems; `models` are by name."""

    def call(systems=SYSTEMS, models=None, **options):
        models = models or {"mini": golden(), "other": FakeLanguageModel(yes_if="lake")}
        return compare(
            data,
            tmp_path / "run",
            systems,
            open_model=lambda name: (models[name], name),
            open_ranker=longer_is_better,
            **{"benchmarks": ["squad"], **options},
        )

    return call


def rows_of(tmp_path, system, benchmark="squad"):
    (path,) = (tmp_path / "run").glob(f"{benchmark}-*/{system.folder}/questions.jsonl")
    return read_results(path)


def test_the_encoder_s_share_is_in_the_order_unless_a_system_is_pure(run, tmp_path, encoder):
    near = golden(similarity_weight=1000.0, similarity_encoder="stub@1")
    systems = (System("near", "mini"), System("pure", "mini", pure=True))
    run(systems, {"mini": near}, open_encoder=lambda name: encoder)
    first = {system.name: [row.reranked[0] for row in rows_of(tmp_path, system)] for system in systems}
    # the decoy repeats the question's words, and the model knows better
    assert first == {"near": ["s/decoy/0", "s/ebro/0"], "pure": ["s/tagus/0", "s/ebro/0"]}
    odds = {row.id: row.p_true[0] for row in rows_of(tmp_path, systems[0])}
    assert odds["q1"] < 0.5  # what is shown stays the model's


def test_every_system_has_one_line_for_each_question(run, tmp_path):
    comparison = run()
    for system in SYSTEMS:
        assert [row.id for row in rows_of(tmp_path, system)] == ["q1", "q2"]
        assert sum(comparison.of("squad", system.name).outcomes.values()) == 2


def test_a_line_holds_the_road_of_its_question(run, tmp_path):
    run([MINI])
    q1 = rows_of(tmp_path, MINI)[0]
    assert q1.retrieved[:2] == ("s/decoy/0", "s/tagus/0")
    assert (q1.reranked[0], q1.p_true[0]) == ("s/tagus/0", pytest.approx(0.9))
    assert q1.contexts == q1.reranked[:5]
    assert (q1.answer, q1.gold_answers, q1.outcome) == ("golden land", ("golden land",), "right")
    assert (q1.first["R@1"], q1.metrics["R@1"], q1.metrics["EM"]) == (0.0, 1.0, 1.0)
    assert min(q1.seconds.t1, q1.seconds.t2, q1.seconds.t3) >= 0
    (folder,) = (tmp_path / "run").glob("squad-*")
    assert set(read_kept_passages(folder)) >= {*q1.retrieved, *q1.gold}


def test_systems_rank_and_answer_each_in_its_own_way(run, tmp_path):
    comparison = run()
    first = {
        name: [row.reranked[0] for row in rows_of(tmp_path, of)]
        for of in SYSTEMS
        if (name := of.name) and of.retriever != "none"
    }
    assert first["mini"] == ["s/tagus/0", "s/ebro/0"]
    assert first["no rerank"] == ["s/decoy/0", "s/ebro/0"]
    assert first["cross"] == ["s/tagus/0", "s/tagus/0"]
    closed = rows_of(tmp_path, SYSTEMS[2])[0]
    assert (closed.retrieved, closed.contexts, closed.answer) == ((), (), "golden land")
    near = rows_of(tmp_path, SYSTEMS[4])[0]
    assert (near.answer, near.p_true[0]) == (None, None)
    assert "EM" not in comparison.of("squad", "near").figures
    assert rows_of(tmp_path, SYSTEMS[3])[0].p_true[0] == 0.25


def test_systems_share_what_they_have_in_common(run):
    model = golden()
    run([MINI, System("once more", "mini"), System("three of them", "mini", n=3, k=2)], {"mini": model})
    judged = [p for p in model.prompts if "assess" in "".join(s.text for s in p)]
    # q1 and q2 meet 3 and 3 of the passages by BM25; each is judged once.
    assert len(judged) == len({tuple(p) for p in judged})


def test_a_model_is_opened_once_and_only_if_it_is_needed(run, data, tmp_path):
    opened = []

    def open_model(name):
        opened.append(name)
        return golden(), name

    systems = [MINI, System("near", "none", "bi-encoder:some/encoder"), System("again", "mini", "none")]
    compare(data, tmp_path / "run", systems, open_model=open_model, open_ranker=longer_is_better, benchmarks=["squad"])
    assert opened == ["mini"]


def test_the_others_are_tested_against_the_first(run):
    comparison = run()
    found = {(p.system, p.metric): p for p in comparison.pairs}
    assert {p.against for p in comparison.pairs} == {"mini"}
    assert found["no rerank", "R@1"].paired.difference.mean == -0.5
    assert ("closed book", "R@1") not in found
    assert found["closed book", "EM"].paired.p == 1.0


def test_all_sorts_of_sets_are_measured(run, tmp_path):
    comparison = run([MINI], benchmarks=SETS)
    assert [f.benchmark for f in comparison.systems] == list(SETS)
    assert comparison.of("msmarco", "mini").figures["hit@1"].mean == 1.0
    assert "EM" in comparison.of("doc2dial", "mini").figures
    # Both get an answer, though there is none.
    assert comparison.of("squad2_unanswerable", "mini").outcomes == {"answered in vain": 2}
    withholding = [System("careful", "mini", abstain=True)]
    careful = run(withholding, {"mini": golden(abstain_below=0.0)}, benchmarks=["squad2_unanswerable"])
    # u1's only candidate is the lake, not golden.
    assert careful.of("squad2_unanswerable", "careful").outcomes == {"right": 1, "answered in vain": 1}
    assert rows_of(tmp_path, withholding[0], "squad2_unanswerable")[0].answer is None


def test_a_ranking_that_was_frozen_is_the_first_stage_whatever_is_asked_for(run, data, tmp_path, encoder):
    write_rows(data / "runs/squad.passages.jsonl", passage_rows(PASSAGES))
    (data / "runs/squad.trec").write_text("q1 Q0 s/lake/0 1 1 x\nq1 Q0 s/tagus/0 2 0 x\nq2 Q0 s/ebro/0 1 1 x\n")
    systems = [System("given", "mini"), System("near", "mini", retriever="dense")]
    comparison = run(systems, open_encoder=lambda name: encoder)
    assert encoder.encoded == 0
    for system in systems:
        assert [row.retrieved for row in rows_of(tmp_path, system)] == [("s/lake/0", "s/tagus/0"), ("s/ebro/0",)]
    assert "| SQuAD | a ranking of unknown make | 20 |" in render_comparison(comparison)


def test_speakers_are_named_where_conversations_are_searched_so(run, tmp_path):
    run([MINI], benchmarks=["doc2dial"], history="speakers")
    assert [path.name for path in (tmp_path / "run").glob("doc2dial-*/bm25-speakers.jsonl")]
    assert rows_of(tmp_path, MINI, "doc2dial")[0].retrieved == ("d/tax/0", "d/visa/0")


def test_a_report_has_the_reachable_gap_and_calibration(run):
    comparison = run([MINI, System("plain", "mini", "none")])
    own = comparison.of("squad", "mini")
    # BM25 has one of two gold passages in the first place, the model both, which is all that can be reached.
    assert (own.reachable, own.gap.mean) == (1.0, 1.0)
    assert (comparison.of("squad", "plain").gap, own.calibration.answers) == (None, 2)
    text = render_comparison(comparison)
    assert "| SQuAD | mini | R@1 | 0.500 [0.000, 1.000] | 1.000 [1.000, 1.000] | 1.000 | 1.000 [1.000, 1.000] |" in text
    assert "## Calibration" in text


def test_a_run_says_what_it_was_made_with(run, tmp_path):
    run()
    made_with = load_description(tmp_path / "run").made_with
    assert {"rankrag", "torch", "mini", "other"} <= set(made_with)
    assert len(made_with["mini"]) == 12


def test_a_second_run_asks_nothing_and_finds_the_same(run):
    first = run(benchmarks=SETS, systems=SYSTEMS[:2])
    model = golden()
    again = run(SYSTEMS[:2], {"mini": model}, benchmarks=SETS)
    assert model.prompts == []
    assert (again.systems, again.pairs) == (first.systems, first.pairs)


@pytest.mark.parametrize("calls", [0, 3, 7, 11])
def test_a_run_that_is_killed_anywhere_loses_no_question(data, tmp_path, calls, monkeypatch):
    monkeypatch.setattr(work, "PAIRS_AT_ONCE", 1)
    monkeypatch.setattr(work, "QUESTIONS_AT_ONCE", 1)

    class Killed(BaseException):
        pass

    class Mortal(FakeLanguageModel):
        left = calls

        def _dies(self):
            self.left -= 1
            if self.left < 0:
                raise Killed

        def choice_logprobs(self, prompts, choices):
            self._dies()
            return super().choice_logprobs(prompts, choices)

        def generate(self, prompts, params):
            self._dies()
            return super().generate(prompts, params)

    def lines(folder):
        found = {}
        for path in sorted(folder.glob("*/*/questions.jsonl")):
            found[str(path.relative_to(folder))] = [replace(row, seconds=None) for row in read_results(path)]
        return found

    def all_of(folder, model):
        sets = ("squad", "msmarco")
        return compare(data, folder, SYSTEMS[:3], open_model=lambda name: (model, name), benchmarks=sets)

    whole = all_of(tmp_path / "whole", golden())
    mortal = Mortal(yes_if="golden", reply="golden land")
    with pytest.raises(Killed):
        all_of(tmp_path / "killed", mortal)
    resumed = all_of(tmp_path / "killed", golden())
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
    assert [replace(f, seconds=None, cost=None) for f in resumed.systems] == [
        replace(f, seconds=None, cost=None) for f in whole.systems
    ]


def test_a_question_that_cannot_be_asked_is_failed_and_counted(run, tmp_path):
    def reply(prompt):
        if any("ebro" in s.text for s in prompt if s.kind == "text"):
            raise DataError("the question is too long")
        return "golden land"

    comparison = run([MINI], {"mini": golden(reply)})
    assert comparison.of("squad", "mini").outcomes == {"right": 1, "failed": 1}
    assert comparison.of("squad", "mini").figures["EM"].mean == 0.5
    assert rows_of(tmp_path, MINI)[1].error == "the question is too long"


def test_a_model_that_says_nothing_or_far_too_much_is_counted_too(run):
    assert run([MINI], {"mini": golden("")}).of("squad", "mini").outcomes == {"refused": 2}
    endless = run([System("endless", "mini")], {"mini": golden(" ".join(["river"] * 10_000), passage_tokens=99)})
    assert endless.of("squad", "endless").outcomes == {"misread": 2}
    assert endless.of("squad", "endless").figures["F1"].mean == 0.0


def test_a_refusal_in_words_is_refused_where_the_passage_was_there(run, tmp_path):
    run([replace(MINI, k=1, ranker="none")], {"mini": golden(UNANSWERABLE)})
    # q1's gold passage is the second one of BM25's, q2's the first.
    assert [row.outcome for row in rows_of(tmp_path, MINI)] == ["ranked away", "refused"]
    run([replace(MINI, n=1, k=1)], {"mini": golden("nothing", passage_tokens=99)})
    assert [row.outcome for row in rows_of(tmp_path, MINI)] == ["not retrieved", "misread"]


def test_a_score_that_is_not_a_number_stops_the_run(data, tmp_path):
    system = System("broken", "none", "cross-encoder:x")
    with pytest.raises(ModelError, match=r"SQuAD, broken: the score of passage .* is not a number"):
        compare(
            data,
            tmp_path / "run",
            [system],
            open_model=lambda name: (golden(), name),
            open_ranker=lambda *_: lambda pairs: [Judgement(float("nan"), 0.0) for _ in pairs],
            benchmarks=["squad"],
        )


def test_lines_that_are_missing_or_broken_are_an_error_not_a_smaller_total(run, tmp_path):
    run([MINI])
    (path,) = (tmp_path / "run").glob(f"squad-*/{MINI.folder}/questions.jsonl")
    text = path.read_text()
    path.write_text(text.splitlines(keepends=True)[0])
    with pytest.raises(DataError, match="holds 1 questions, 2 were asked"):
        aggregated(tmp_path / "run", load_description(tmp_path / "run"))
    path.write_text(text + '{"id": 3}\n')
    with pytest.raises(DataError, match=r"questions.jsonl:3: not a question's row"):
        aggregated(tmp_path / "run", load_description(tmp_path / "run"))
    path.write_text(text)
    assert json.loads((tmp_path / "run" / "comparison.json").read_text())["systems"][0]["questions"] == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"n": 2, "k": 3}, "n=2, k=3"),
        ({"ranker": "cross-encoder"}, "its ranker has no name"),
        ({"ranker": "oracle"}, "ranker 'oracle' is not known"),
        ({"encoder": "dpr-nq"}, "encoder: bm25 needs none"),
        ({"model": "none"}, "model: none, so its ranker needs a name"),
        ({"setting": "paper-8b", "n": 50}, "setting: paper-8b has n, k, retriever, encoder and pure of its own"),
        ({"retriever": "none"}, r"closed book .* needs a model and ranker: none"),
    ],
)
def test_a_system_that_cannot_be_is_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        System("odd", **given)


def test_names_are_checked_before_any_work(run, tmp_path):
    with pytest.raises(ConfigError, match="mini: given twice"):
        run([MINI, MINI])
    with pytest.raises(ConfigError, match="setting: paper-8b goes with the sets of the paper alone"):
        run([System("as there", "mini", setting="paper-8b")])
    with pytest.raises(ConfigError, match="sets: squad: given twice"):
        run([MINI], benchmarks=["squad", "squad"])
    with pytest.raises(ConfigError, match="squat: not known"):
        run([MINI], benchmarks=["squat"])
    assert not (tmp_path / "run").exists()
    names = {System(name).folder for name in ("a b", "a-b", "a/b", "ä")}
    assert len(names) == 4
    assert all(name.startswith("system-") and "/" not in name for name in names)


def test_a_set_of_one_s_own_is_declared_in_the_configuration(data, tmp_path, run):
    write_rows(data / "own/corpus.jsonl", [{"_id": "a", "text": "golden rules"}, {"_id": "b", "text": "rules, rules"}])
    write_rows(data / "own/queries.jsonl", [{"_id": "q", "text": "which rules"}])
    (data / "own/test.tsv").write_text("query-id\tcorpus-id\tscore\nq\ta\t1\n")
    declared = {
        "name": "scifact",
        "rows": "own/queries.jsonl",
        "form": "beir",
        "companion": "own/test.tsv",
        "corpora": ["own/corpus.jsonl"],
        "style": None,
        "metric": "NDCG@10",
    }
    base = {"out": "x", "data": ".", "systems": [{"name": "mini"}]}
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps({**base, "sets": ["squad", declared]}))
    named, own = load_config(ComparisonConfig, path).sets
    comparison = run([MINI], benchmarks=[named, own_set(own)])
    assert comparison.of("scifact", "mini").first["NDCG@10"].mean < 1.0
    assert comparison.of("scifact", "mini").figures["NDCG@10"].mean == 1.0
    first = own.model_copy(update={"name": "first", "metric": "RR"})
    assert run([MINI], benchmarks=[own_set(first)]).of("first", "mini").figures["RR"].mean == 1.0
    for wrong, said in [({"metric": "MAP"}, "sets.0.own.metric: "), ({"row": "x"}, "did you mean 'rows'")]:
        path.write_text(json.dumps({**base, "sets": [{**declared, **wrong}]}))
        with pytest.raises(ConfigError, match=said):
            load_config(ComparisonConfig, path)
    with pytest.raises(ConfigError, match="sets: squad: the name of a known set"):
        own_set(own.model_copy(update={"name": "squad"}))
