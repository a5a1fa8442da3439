from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from rankrag.config.evaluation import ComparisonConfig
from rankrag.config.schema import load_config
from rankrag.data.catalogue import own_set
from rankrag.data.files import write_rows
from rankrag.errors import ConfigError, DataError, ModelError
from rankrag.evaluation import work
from rankrag.evaluation.aggregate import read_results
from rankrag.evaluation.description import load_description
from rankrag.evaluation.lines import read_kept_passages, read_question_lines
from rankrag.evaluation.parts import Openers
from rankrag.evaluation.run import Settings, evaluate
from rankrag.evaluation.systems import System
from rankrag.models.fake import FakeLanguageModel
from rankrag.rerank import Judgement
from rankrag.templates import UNANSWERABLE
from tests.evaluation.conftest import golden

SETS = ("squad", "doc2dial", "msmarco", "trec_dl19", "squad2_unanswerable")


def longer_is_better(kind, name):
    assert name == "some/encoder"
    return lambda pairs: [Judgement(float(len(p.text)), 0.25) for _, p in pairs]


def system(name="mini", model="mini", ranker="model", retriever="bm25", **values):
    return System(name=name, model=model, ranker=ranker, retriever=retriever, **values)


MINI = system()
SYSTEMS = (
    MINI,
    system("no rerank", ranker="none"),
    system("closed book", ranker="none", retriever="none"),
    system("cross", ranker="cross-encoder:some/encoder"),
    system("near", model="none", ranker="bi-encoder:some/encoder"),
    system("two models", ranker="model:other"),
)


@pytest.fixture
def run(data, tmp_path, encoder):
    """Evaluate systems; `models` are by name."""

    def call(systems=SYSTEMS, models=None, sets=("squad",), say=lambda _: None, **settings):
        models = models or {"mini": golden(), "other": FakeLanguageModel(yes_if="lake")}
        openers = Openers(lambda name: (models[name], name), lambda _: encoder, longer_is_better)
        return evaluate(data, tmp_path / "run", systems, openers, Settings(**settings), sets=sets, say=say)

    return call


def lines_of(tmp_path, one, benchmark="squad"):
    (path,) = (tmp_path / "run").glob(f"{benchmark}-*/{one.folder}/questions.jsonl")
    return read_question_lines(path)


def test_the_encoders_share_is_in_the_order_unless_a_system_does_without(run, tmp_path):
    near = golden(similarity_weight=1000.0, similarity_encoder="stub@1")
    systems = (system("near"), system("alone", similarity=False))
    run(systems, {"mini": near})
    first = {one.name: [line.reranked[0] for line in lines_of(tmp_path, one)] for one in systems}
    # the decoy repeats the question's words, and the model knows better
    assert first == {"near": ["s/decoy/0", "s/ebro/0"], "alone": ["s/tagus/0", "s/ebro/0"]}
    odds = {line.id: line.p_true[0] for line in lines_of(tmp_path, systems[0])}
    assert odds["q1"] < 0.5  # what is shown stays the model's


def test_the_order_takes_vectors_from_the_index_as_ask_does(run, encoder, loaded):
    near = golden(similarity_weight=1.0, similarity_encoder="stub@1")
    run([system("over bm25")], {"mini": near})
    assert encoder.encoded > 0  # this index has no vectors
    encoder.encoded = 0
    run([system("hybrid", retriever="hybrid")], {"mini": near}, sets=["doc2dial"])
    assert encoder.encoded == len(loaded("doc2dial").passages)


def test_sets_without_an_index_are_compared_by_vectors_too(run, encoder, loaded):
    near = golden(similarity_weight=1.0, similarity_encoder="stub@1")
    evaluation = run([system("over bm25")], {"mini": near}, sets=["squad", "msmarco", "trec_dl19"])
    assert encoder.encoded > len(loaded("msmarco").passages)
    assert evaluation.of("msmarco", "over bm25").questions == 1


def test_every_system_has_one_line_for_each_question(run, tmp_path):
    evaluation = run()
    for one in SYSTEMS:
        assert [line.id for line in lines_of(tmp_path, one)] == ["q1", "q2"]
        assert sum(evaluation.of("squad", one.name).outcomes.values()) == 2


def test_a_line_holds_everything_about_its_question(run, tmp_path):
    run([MINI])
    q1 = lines_of(tmp_path, MINI)[0]
    assert q1.retrieved[:2] == ("s/decoy/0", "s/tagus/0")
    assert q1.reranked[0] == "s/tagus/0"
    assert q1.p_true[0] == pytest.approx(0.9)
    assert q1.contexts == q1.reranked[:5]
    assert q1.answer == "golden land"
    assert q1.gold_answers == ("golden land",)
    assert q1.outcome == "right"
    assert q1.cited_ids == ("s/tagus/0",)
    assert not q1.withheld
    assert q1.first["R@1"] == 0.0
    assert q1.metrics["R@1"] == 1.0
    assert q1.metrics["EM"] == 1.0
    assert q1.metrics["citation precision"] == 1.0
    assert min(q1.seconds.t1, q1.seconds.t2, q1.seconds.t3) >= 0
    (folder,) = (tmp_path / "run").glob("squad-*")
    assert set(read_kept_passages(folder)) >= {*q1.retrieved, *q1.gold}


def test_systems_rank_and_answer_each_in_its_own_way(run, tmp_path):
    evaluation = run()
    first = {one.name: [line.reranked[0] for line in lines_of(tmp_path, one)] for one in SYSTEMS if not one.closed_book}
    assert first["mini"] == ["s/tagus/0", "s/ebro/0"]
    assert first["no rerank"] == ["s/decoy/0", "s/ebro/0"]
    assert first["cross"] == ["s/tagus/0", "s/tagus/0"]
    closed = lines_of(tmp_path, SYSTEMS[2])[0]
    assert closed.retrieved == ()
    assert closed.contexts == ()
    assert closed.answer == "golden land"
    assert closed.cited is None
    near = lines_of(tmp_path, SYSTEMS[4])[0]
    assert near.answer is None
    assert near.p_true[0] is None
    assert "EM" not in evaluation.of("squad", "near").figures
    assert lines_of(tmp_path, SYSTEMS[3])[0].p_true[0] == 0.25


def test_systems_share_what_they_have_in_common(run):
    model = golden()
    run([MINI, system("once more"), system("three of them", n=3, k=2)], {"mini": model})
    judged = [p for p in model.prompts if "assess" in "".join(s.text for s in p)]
    # q1 and q2 meet 3 and 3 of the passages by BM25; each is judged once.
    assert len(judged) == len({tuple(p) for p in judged})


def test_citations_of_another_rankers_relevance_are_kept_apart(run, tmp_path):
    run([MINI, SYSTEMS[1], SYSTEMS[3]])
    (folder,) = {path.parent for path in (tmp_path / "run").glob("squad-*/*/replies.jsonl")}
    names = sorted(path.name.partition(".")[0] for path in folder.glob("citations*"))
    assert [name[:20] for name in names] == ["citations", "citations-cross-enco", "citations-unranked"]


def test_a_model_is_opened_once_and_only_if_it_is_needed(data, tmp_path):
    opened = []

    def open_model(name):
        opened.append(name)
        return golden(), name

    systems = [MINI, system("near", model="none", ranker="bi-encoder:some/encoder"), system("again", ranker="none")]
    evaluate(data, tmp_path / "run", systems, Openers(open_model, ranker=longer_is_better), sets=["squad"])
    assert opened == ["mini"]


def test_the_others_are_tested_against_the_first_or_against_what_they_name(run):
    evaluation = run([MINI, system("plain", ranker="none"), system("book", ranker="none", against="plain")])
    assert {(pair.system, pair.against) for pair in evaluation.pairs} == {("plain", "mini"), ("book", "plain")}
    (found,) = (pair for pair in evaluation.pairs if (pair.system, pair.metric) == ("plain", "R@1"))
    assert found.difference.mean == -0.5
    with pytest.raises(ConfigError, match="'book': against: no system is called 'plain'"):
        run([MINI, system("book", against="plain")])


def test_a_line_made_again_has_its_own_times_and_not_those_of_work_for_other_systems(run, tmp_path):
    systems = [
        system("early", retriever="dense", k=1, settled_from=-9.0),
        system("all", retriever="dense", k=1, abstain=False),
    ]
    seconds = []
    for _ in range(2):
        run(systems, {"mini": golden(abstain_below=9.0)})
        seconds.append([line.seconds for line in lines_of(tmp_path, systems[0])])
    assert [line.withheld for line in lines_of(tmp_path, systems[0])] == [True, True]
    assert all(one.t2 is not None and one.t3 is None for one in seconds[0])
    assert seconds[1] == seconds[0]


def test_an_answer_is_withheld_below_the_threshold_as_ask_does(run, tmp_path):
    model = golden(abstain_below=0.0)
    evaluation = run([MINI, system("never", abstain=False)], {"mini": model}, sets=["squad", "squad2_unanswerable"])
    # u1's only candidate is the lake, which is not golden; u2 gets the golden Ebro.
    lines = lines_of(tmp_path, MINI, "squad2_unanswerable")
    assert [line.withheld for line in lines] == [True, False]
    assert [line.answer for line in lines] == [None, "golden land"]
    assert [line.outcome for line in lines] == ["right", "answered in vain"]
    figures = evaluation.of("squad2_unanswerable", "mini").figures
    assert figures["withheld"].mean == 0.5
    assert figures["refused"].mean == 0.5
    assert figures["look-alike found"].mean == 0.5
    assert figures["refused despite look-alike"].mean == 1.0
    assert evaluation.of("squad2_unanswerable", "never").figures["withheld"].mean == 0.0
    assert evaluation.of("squad", "mini").figures["withheld"].mean == 0.0


def test_judging_stops_once_the_best_k_are_settled(run, tmp_path, monkeypatch):
    monkeypatch.setattr("rankrag.evaluation.steps.BLOCK", 1)
    model = golden()
    full, early = system("all", k=1), system("early", k=1, settled_from=1.0)
    evaluation = run([early], {"mini": model})
    line = lines_of(tmp_path, early)[1]
    # q2's first candidate is golden, and that is enough.
    assert [p is not None for p in line.p_true] == [True, *[False] * (len(line.retrieved) - 1)]
    assert line.metrics["judged"] == 1.0
    judged_early = len(model.prompts)
    evaluation = run([full, early], {"mini": model})
    assert len(model.prompts) > judged_early
    assert evaluation.of("squad", "early").same_contexts == 1.0


def test_conversations_are_searched_as_the_model_was_fitted_or_as_the_run_says(run, tmp_path):
    talk = {"sets": ["doc2dial"]}
    run([MINI], {"mini": golden(history_query="all")}, **talk)
    assert lines_of(tmp_path, MINI, "doc2dial")[0].retrieved == ("d/tax/0", "d/visa/0")
    assert load_description(tmp_path / "run").systems[0].history_query == "all"
    run([MINI], {"mini": golden(history_query="all")}, history="last", **talk)
    assert lines_of(tmp_path, MINI, "doc2dial")[0].retrieved == ("d/visa/0",)
    run([MINI], history="speakers", **talk)
    assert list((tmp_path / "run").glob("doc2dial-*/bm25-speakers.jsonl"))


def test_a_run_says_what_it_was_made_with(run, tmp_path):
    run(machine="a GPU")
    run(machine="two cores")
    found = load_description(tmp_path / "run")
    assert {"rankrag", "torch", "mini", "other"} <= set(found.made_with)
    assert len(found.made_with["mini"]) == 12
    assert found.machine == "a GPU; two cores"
    assert found.systems[0].k == 5


def test_a_second_run_asks_nothing_and_finds_the_same(run, tmp_path):
    first = run(SYSTEMS[:2], sets=SETS)
    model = golden()
    again = run(SYSTEMS[:2], {"mini": model}, sets=SETS)
    assert model.prompts == []
    assert again.systems == first.systems
    assert again.pairs == first.pairs
    assert read_results(tmp_path / "run").systems == first.systems


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
            found[str(path.relative_to(folder))] = [replace(line, seconds=None) for line in read_question_lines(path)]
        return found

    def all_of(folder, model):
        sets = ("squad", "msmarco")
        return evaluate(data, folder, SYSTEMS[:3], Openers(lambda name: (model, name)), sets=sets)

    def timeless(evaluation):
        return [replace(f, typical=None, slow=None, cost=None) for f in evaluation.systems]

    whole = all_of(tmp_path / "whole", golden())
    mortal = Mortal(yes_if="golden", reply="golden land")
    with pytest.raises(Killed):
        all_of(tmp_path / "killed", mortal)
    resumed = all_of(tmp_path / "killed", golden())
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
    assert timeless(resumed) == timeless(whole)


def test_a_run_goes_on_where_a_kill_cut_its_journals(run, tmp_path):
    whole = run(SYSTEMS[:2], sets=SETS)
    journals = sorted((tmp_path / "run").glob("*/**/*.jsonl"))
    assert {path.name for path in journals} >= {"judgements.jsonl", "replies.jsonl", "citations.jsonl"}
    for path in journals:
        text = path.read_bytes()
        path.write_bytes(text[: len(text) * 2 // 3])
    again = run(SYSTEMS[:2], sets=SETS)
    assert [f.figures for f in again.systems] == [f.figures for f in whole.systems]


def test_another_model_starts_its_own_journals(run):
    run([MINI])
    other = golden(passage_tokens=100)
    run([MINI], {"mini": other})
    assert other.prompts


def test_a_question_that_cannot_be_asked_is_failed_and_counted(run, tmp_path):
    def reply(prompt):
        if any("ebro" in s.text for s in prompt if s.kind == "text"):
            raise DataError("the question is too long")
        return "golden land"

    evaluation = run([MINI], {"mini": golden(reply)})
    assert evaluation.of("squad", "mini").outcomes == {"right": 1, "failed": 1}
    assert evaluation.of("squad", "mini").figures["EM"].mean == 0.5
    assert lines_of(tmp_path, MINI)[1].error == "the question is too long"


def test_a_model_that_says_nothing_or_far_too_much_is_counted_too(run):
    assert run([MINI], {"mini": golden("")}).of("squad", "mini").outcomes == {"refused": 2}
    endless = run([system("endless")], {"mini": golden(" ".join(["river"] * 10_000), passage_tokens=99)})
    assert endless.of("squad", "endless").outcomes == {"misread": 2}
    assert endless.of("squad", "endless").figures["F1"].mean == 0.0


def test_a_refusal_in_words_is_refused_if_the_passage_was_there(run, tmp_path):
    run([MINI.changed(k=1, ranker="none")], {"mini": golden(UNANSWERABLE)})
    # q1's gold passage is the second one of BM25's, q2's the first.
    assert [line.outcome for line in lines_of(tmp_path, MINI)] == ["ranked away", "refused"]
    assert lines_of(tmp_path, MINI)[1].cited == ()
    assert lines_of(tmp_path, MINI)[1].metrics["citation recall"] == 0.0
    run([MINI.changed(n=1, k=1)], {"mini": golden("nothing", passage_tokens=99)})
    assert [line.outcome for line in lines_of(tmp_path, MINI)] == ["not retrieved", "misread"]


def test_a_score_that_is_not_a_number_stops_the_run(data, tmp_path):
    broken = system("broken", model="none", ranker="cross-encoder:x")
    nan = Openers(
        lambda name: (golden(), name), ranker=lambda *_: lambda pairs: [Judgement(float("nan"), 0.0)] * len(pairs)
    )
    with pytest.raises(ModelError, match=r"SQuAD: the score of passage .* is not a number"):
        evaluate(data, tmp_path / "run", [broken], nan, sets=["squad"])


def test_lines_that_are_missing_or_broken_are_an_error_not_a_smaller_total(run, tmp_path):
    run([MINI])
    (path,) = (tmp_path / "run").glob(f"squad-*/{MINI.folder}/questions.jsonl")
    text = path.read_text()
    path.write_text(text.splitlines(keepends=True)[0])
    with pytest.raises(DataError, match="holds 1 questions, 2 were asked"):
        read_results(tmp_path / "run")
    path.write_text(text + '{"id": 3}\n')
    with pytest.raises(DataError, match=r"questions.jsonl:3: not a question's line"):
        read_results(tmp_path / "run")
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        read_results(tmp_path / "run")


def test_a_folder_without_a_run_says_so(tmp_path):
    with pytest.raises(DataError, match=r"no run there .*rankrag evaluate"):
        read_results(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(DataError, match="not a run"):
        read_results(tmp_path)


def test_names_are_checked_before_any_work(run, tmp_path):
    with pytest.raises(ConfigError, match="mini: given twice"):
        run([MINI, MINI])
    with pytest.raises(ConfigError, match="setting: paper-8b works only for the sets of the paper"):
        run([System(name="as there", model="mini", setting="paper-8b")])
    with pytest.raises(ConfigError, match="sets: squad: given twice"):
        run([MINI], sets=["squad", "squad"])
    with pytest.raises(ConfigError, match="squat: not known"):
        run([MINI], sets=["squat"])
    assert not (tmp_path / "run").exists()


def test_by_default_all_sets_that_are_at_hand_are_measured(run, tmp_path, data):
    assert [of_set.name for of_set in run([MINI], sets=None).description.sets] == list(SETS)
    with pytest.raises(ConfigError, match="no set is there; `rankrag evaluate --list`"):
        evaluate(tmp_path / "nowhere", tmp_path / "run2", [MINI], Openers(lambda name: (golden(), name)))


def test_a_sample_is_drawn_and_zero_takes_all(run):
    assert run([MINI], sample=1).of("squad", "mini").questions == 1
    assert run([MINI], sample=0).of("squad", "mini").questions == 2


def test_a_set_of_ones_own_is_declared_in_the_configuration(data, tmp_path, run):
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
    found = run([MINI], sets=[named, own_set(own)]).of("scifact", "mini")
    assert found.first["NDCG@10"].mean < 1.0
    assert found.figures["NDCG@10"].mean == 1.0
    first = own.model_copy(update={"name": "first", "metric": "RR"})
    assert run([MINI], sets=[own_set(first)]).of("first", "mini").figures["RR"].mean == 1.0
    for wrong, said in [({"metric": "MAP"}, "sets.0.own.metric: "), ({"row": "x"}, "did you mean 'rows'")]:
        path.write_text(json.dumps({**base, "sets": [{**declared, **wrong}]}))
        with pytest.raises(ConfigError, match=said):
            load_config(ComparisonConfig, path)
    with pytest.raises(ConfigError, match="sets: squad: the name of a known set"):
        own_set(own.model_copy(update={"name": "squad"}))


def test_a_set_without_gold_passages_is_answered_all_the_same(run, data, tmp_path):
    write_rows(data / "openqa/fever_symmetric.corpus.jsonl.zst", [{"id": i, "text": i} for i in ("s0", "s1")])
    labelled = {"options": {"A": "SUPPORTS", "B": "REFUTES"}, "label": "B", "answers": ["REFUTES"]}
    row = {"id": "f", "question": "A claim.", "positive_ids": ["s1"], **labelled}
    write_rows(data / "openqa/fever_symmetric.dev.jsonl.zst", [row])
    model = golden(reply="REFUTES")
    found = run([MINI], {"mini": model}, sets=["fever_symmetric"]).of("fever_symmetric", "mini")
    assert found.first == {}
    assert found.gap is None
    assert found.figures["FEVER accuracy"].mean == 1
    assert lines_of(tmp_path, MINI, "fever_symmetric")[0].contexts == ("s1",)


def test_a_frozen_run_of_a_set_without_gold_passages_is_judged_by_the_answers(run, data):
    rows = [{"id": "n1", "input": "which river", "output": [{"answer": "Tagus"}]}]
    write_rows(data / "kilt/nq-dev-kilt.jsonl", rows)
    texts = [{"id": str(i), "text": f"river {i}"} for i in range(6)] + [{"id": "6", "text": "the golden Tagus"}]
    write_rows(data / "runs/nq-kilt.passages.jsonl", texts)
    (data / "runs/nq-kilt.trec").write_text("".join(f"n1 Q0 {i} {i + 1} {-i} x\n" for i in range(7)))
    ten = MINI.changed(n=10)
    found = run([ten], {"mini": golden(reply="The Tagus")}, sets=["nq-kilt"]).of("nq-kilt", "mini")
    first = {name: value.mean for name, value in found.first.items()}
    assert first == {"answer-recall@5": 0, "answer-recall@10": 1, "answer-recall@20": 1}
    assert found.figures["answer-recall@5"].mean == 1
    assert found.reachable == 1
    assert found.figures["EM"].mean == 1


def test_evaluating_loads_no_torch_and_no_command_line():
    code = (
        "import sys, rankrag.evaluation.run, rankrag.evaluation.report, rankrag.evaluation.own_documents;"
        "print(sorted({'torch', 'transformers', 'rankrag.cli'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
