from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from rankrag.blend.mixture import EXAMPLES_FILE
from rankrag.config.blend import BlendConfig
from rankrag.contract import Contract, load_contract, save_contract
from rankrag.data.examples import write_examples
from rankrag.data.files import write_rows
from rankrag.data.sets import Judged
from rankrag.errors import ConfigError
from rankrag.fitting.fit import FitSize, fit
from rankrag.fitting.held_back import held_back_sets, without_answers
from rankrag.models.fake import FakeLanguageModel
from rankrag.types import DataKind, Example, Passage, Question
from tests.data.own_sets import PASSAGES, passage_rows

ALL = {"squad": 1.0, "talk": 1.0, "squad2": 1.0}
BOTH = {"squad": 1.0, "squad2": 1.0}


@pytest.fixture
def config(tmp_path):
    folder = tmp_path / "train"
    write_rows(folder / "squad.corpus.jsonl", passage_rows({**PASSAGES, "s/lake/1": "lake fish"}))
    write_rows(
        folder / "squad.train.jsonl",
        [
            {"id": "q1", "question": "tagus river", "answers": ["golden land"], "positive_ids": ["s/tagus/0"]},
            {"id": "q2", "question": "ebro river", "answers": ["golden"], "positive_ids": ["s/ebro/0"]},
        ],
    )
    write_rows(folder / "squad2.train.jsonl", [{"id": "u1", "question": "lake", "near_ids": ["s/lake/0"]}])
    write_rows(
        folder / "talk.corpus.jsonl",
        passage_rows({"d/visa/0": "golden visa for workers", "d/tax/0": "tax for workers", "d/tax/1": "tax office"}),
    )
    turns = [{"role": "user", "content": "tax"}, {"role": "agent", "content": "which tax office"}]
    rows = [{"id": "c1", "question": "golden one", "answers": ["x"], "positive_ids": ["d/tax/0"], "history": turns}]
    write_rows(folder / "talk.train.jsonl", rows)
    return BlendConfig.model_validate(
        {
            "data": str(folder),
            "held_back": 0.999999,
            "sources": [
                {"name": "squad", "rows": "squad.train.jsonl", "corpus": "squad.corpus.jsonl"},
                {"name": "squad2", "rows": "squad2.train.jsonl", "corpus": "squad.corpus.jsonl"},
                {"name": "talk", "rows": "talk.train.jsonl", "corpus": "talk.corpus.jsonl", "style": "conversation"},
            ],
        }
    )


def golden():
    return FakeLanguageModel(yes_if="golden", contract=replace(Contract(), history_query="last"))


def test_all_three_values_are_fitted(config, tmp_path, encoder):
    contract, report = fit(config, tmp_path / "run", golden(), model_name="m", encoder=encoder, sources=ALL)
    # "tax" and "which tax office" find the gold passage, the last turn alone finds only the golden visa by BM25.
    assert report.history_recall["all"] > report.history_recall["last"]
    assert contract.history_query == "all"
    # The model is right on squad without help, and the gold passage of the conversation is not golden.
    losses = [trial.loss for trial in report.weights]
    assert contract.similarity_weight == report.weights[losses.index(min(losses))].weight
    assert len(losses) == 41
    assert contract.similarity_encoder == ("stub@1" if contract.similarity_weight else "")
    assert report.questions == {"squad": 2, "talk": 1, "squad2": 1}
    assert contract.abstain_below == report.threshold.below
    save_contract(contract, tmp_path)
    assert load_contract(tmp_path) == contract
    assert json.loads(json.dumps(asdict(report)))["questions"] == report.questions


def test_bm25_alone_gives_values_that_can_be_checked_by_hand(config, tmp_path):
    contract, report = fit(config, tmp_path / "run", golden(), model_name="m", sources=BOTH)
    # Only passages of named documents are there. q1 and q2 find golden ones: log-odds ln 9. With gold and answers taken
    # away q1 keeps the golden Ebro (ln 9) and q2 nothing; u1 has the lake (-ln 9). Half-way between them is 0.
    assert report.answerable == 2
    assert report.unanswerable == 2
    assert contract.abstain_below == pytest.approx(0.0, abs=1e-9)
    assert report.threshold.unanswerable_refused == 0.5
    assert report.threshold.answerable_refused == 0.0
    # Without an encoder the model orders alone.
    assert [trial.weight for trial in report.weights] == [0.0]
    assert (contract.similarity_weight, contract.similarity_encoder) == (0.0, "")
    assert report.history_recall == {}
    assert contract.history_query == "last"


def test_k_is_fitted_by_the_answers(config, tmp_path):
    def distracted(prompt):
        return "golden" if sum(segment.kind == "passage" for segment in prompt) == 1 else "lake"

    model = replace(golden(), reply=distracted)
    asked = {"model_name": "m", "sources": BOTH}
    contract, report = fit(config, tmp_path / "run", model, **asked, size=FitSize(answers=1))
    # The answer is "golden land" or "golden"; the other question is not asked.
    assert [(trial.k, trial.questions, trial.f1 > 0) for trial in report.depths] == [
        (1, 1, True),
        (2, 1, False),
        (3, 1, False),
        (5, 1, False),
    ]
    assert contract.k == 1
    kept, without = fit(config, tmp_path / "run", model, **asked, size=FitSize(answers=0))
    assert kept.k == 5
    assert without.depths == ()


def test_a_configuration_names_the_sources_to_fit_on(config, tmp_path):
    named = config.model_copy(update={"fit": ("squad",)})
    _, report = fit(named, tmp_path / "run", golden(), model_name="m")
    assert list(report.questions) == ["squad"]
    _, everything = fit(config, tmp_path / "run", golden(), model_name="m")
    assert list(everything.questions) == ["squad", "squad2", "talk"]


def test_made_unanswerable_questions_suffice(config, tmp_path):
    contract, report = fit(config, tmp_path / "run", golden(), model_name="m", sources={"squad": 1.0})
    assert report.unanswerable == 1
    assert contract.abstain_below is None


def test_a_source_may_count_more_than_the_others(config, tmp_path):
    def shares(**weights):
        _, report = fit(config, tmp_path / "run", golden(), model_name="m", sources=weights)
        return report.threshold.unanswerable_refused, {trial.k: trial.f1 for trial in report.depths}

    # Without their gold passages, both answerable questions keep a golden one; the lake of squad2 is not golden.
    once, thrice = shares(squad=1.0, squad2=1.0), shares(squad=1.0, squad2=3.0)
    assert thrice[0] >= once[0]
    assert thrice[1] == once[1]  # squad2 has no answers to choose k by
    with pytest.raises(ConfigError, match="weights of sources must be above 0"):
        shares(squad=0.0)


def test_questions_that_the_model_was_trained_on_are_left_out(config, tmp_path):
    known = Question("other id", "tagus river", answers=("golden land",))
    write_examples(tmp_path / "blend" / EXAMPLES_FILE, [Example(DataKind.CONTEXT_QA, "said", known, (), "golden land")])
    _, report = fit(config, tmp_path / "run", golden(), model_name="m", sources=BOTH, blends=[tmp_path / "blend"])
    assert report.questions == {"squad": 1, "squad2": 1}


def test_fitting_goes_on_where_it_was_killed(config, tmp_path):
    first = fit(config, tmp_path / "run", golden(), model_name="m", sources=ALL)
    for path in (tmp_path / "run").glob("*/*/judgements.jsonl"):
        path.write_bytes(path.read_bytes()[:-5])
    model = golden()
    assert fit(config, tmp_path / "run", model, model_name="m", sources=ALL) == first
    assert model.prompts
    rested = golden()
    assert fit(config, tmp_path / "run", rested, model_name="m", sources=ALL) == first
    assert rested.prompts == []


def test_sources_of_one_corpus_share_its_passages(config):
    sets = held_back_sets(config, ["squad", "squad2", "talk"])
    assert sets["squad"].passages is sets["squad2"].passages
    assert sets["squad"].benchmark.corpora == sets["squad2"].benchmark.corpora
    assert sets["squad2"].questions[0].gold == ("s/lake/0",)


def test_a_source_that_is_not_there_is_named(config):
    with pytest.raises(ConfigError, match="no source nq; it has squad, squad2, talk"):
        held_back_sets(config, ["squad", "nq"])


def test_a_source_that_holds_nothing_back_counts_no_questions(config, tmp_path):
    (tmp_path / "train" / "talk.train.jsonl").write_text("")
    _, report = fit(config, tmp_path / "run", golden(), model_name="m", sources=ALL)
    assert report.questions == {"squad": 2, "talk": 0, "squad2": 1}


def test_without_any_held_back_question_nothing_is_fitted(config, tmp_path):
    nothing = config.model_copy(update={"held_back": 0.0})
    with pytest.raises(ConfigError, match="squad, talk, squad2: none holds back a question"):
        fit(nothing, tmp_path / "run", golden(), model_name="m", sources=ALL)


def test_what_may_answer_is_taken_away():
    texts = {
        "gold": "one two three four five",
        "twin": "one two three four five six",
        "says": "the answer is Lisbon",
        "left": "nothing of the kind",
    }
    passages = {name: Passage(name, text) for name, text in texts.items()}
    asked = Judged(Question("q", "?", answers=("Lisbon",)), ("gold",), {})
    assert without_answers(asked, tuple(texts), passages) == ("left",)
