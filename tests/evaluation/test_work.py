from __future__ import annotations

import json
import math

import pytest

from rankrag.data.sets import Judged
from rankrag.errors import DataError, ModelError
from rankrag.evaluation.work import NOT_JUDGED, JudgingWork, ModelWork, NearnessWork, WorkPlace, with_cosines
from rankrag.models import ModelInfo
from rankrag.models.fake import FakeLanguageModel
from rankrag.rerank import Judgement
from rankrag.retrieval.nearness import Nearness
from rankrag.templates import UNANSWERABLE
from rankrag.types import Message, Passage, Question

ODDS = 2.1972245773362196  # ln(0.9 / 0.1)
Q1 = ("s/decoy/0", "s/tagus/0")


@pytest.fixture
def squad(loaded):
    return loaded("squad")


@pytest.fixture
def work_of(squad, tmp_path):
    def make(model, progress=lambda *_: None):
        return ModelWork(model, WorkPlace(squad.passages, tmp_path / "work", "SQuAD", progress))

    return make


def golden(**more):
    return FakeLanguageModel(yes_if="golden", **more)


def test_every_passage_is_judged_once(squad, work_of):
    model, told = golden(), []
    work = work_of(model, lambda *step: told.append(step))
    q1, q2 = squad.questions
    found = work.judging.judgements([(q1, Q1), (q2, ("s/ebro/0", "s/ebro/0"))])
    assert found["q1"]["s/decoy/0"].log_odds == pytest.approx(-ODDS)
    assert found["q1"]["s/tagus/0"] == Judgement(pytest.approx(ODDS), pytest.approx(0.9))
    assert set(found["q2"]) == {"s/ebro/0"}
    assert told == [("SQuAD: judging", 0, 3), ("SQuAD: judging", 3, 3)]
    assert len(model.prompts) == 3
    more = work.judging.judgements([(q1, (*Q1, "s/hill/0"))])
    assert set(more["q1"]) == {*Q1, "s/hill/0"}
    assert len(model.prompts) == 4


def test_judging_goes_on_where_a_kill_cut_the_journal(squad, work_of, tmp_path):
    wanted = [(of, Q1) for of in squad.questions]
    whole = work_of(golden()).judging.judgements(wanted)
    path = tmp_path / "work" / "judgements.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][: len(lines[1]) // 2])
    model = golden()
    assert work_of(model).judging.judgements(wanted) == whole
    assert len(model.prompts) == 2
    rows = [(row["id"], row["judgements"]) for row in map(json.loads, path.read_bytes().splitlines())]
    assert rows == [(row["id"], row["judgements"]) for row in map(json.loads, lines)]


def test_replies_are_kept_by_question_and_passages(squad, work_of):
    model = golden(reply="golden land")
    q1, q2 = squad.questions
    wanted = [(q1, Q1), (q1, Q1[::-1]), (q2, Q1), (q1, Q1), (q2, ())]
    assert work_of(model).replies(wanted) == ["golden land"] * 4 + [UNANSWERABLE]
    assert len(model.prompts) == 3
    later = golden(reply="something else")
    assert work_of(later).replies([(q1, Q1), (q2, Q1[:1])]) == ["golden land", "something else"]
    assert len(later.prompts) == 1


def test_closed_book_asks_without_passages(squad, work_of):
    model = golden(reply="a golden land")
    (q1, _) = squad.questions
    assert work_of(model).replies([(q1, ())], closed_book=True) == ["a golden land"]
    assert not any(s.kind == "passage" for s in model.prompts[0])
    assert work_of(golden()).replies([(q1, ())], closed_book=True) == ["a golden land"]


def test_times_are_kept_with_the_work(squad, work_of):
    work, (q1, _) = work_of(golden()), squad.questions
    assert work.judging.seconds("q1", Q1) is None
    assert work.seconds("q1", Q1) is None
    work.judging.judgements([(q1, Q1)])
    work.replies([(q1, Q1)])
    for found in (work, work_of(golden())):
        assert found.judging.seconds("q1", Q1) >= 0
        assert found.seconds("q1", Q1) >= 0


def test_a_question_that_cannot_be_asked_does_not_take_others_with_it(squad, work_of):
    def reply(prompt):
        if any("ebro" in s.text for s in prompt if s.kind == "text"):
            raise DataError("too long")
        return "golden land"

    work, (q1, q2) = work_of(golden(reply=reply)), squad.questions
    assert work.replies([(q1, Q1), (q2, Q1)]) == ["golden land", ""]
    assert work.failures == {"q2": "too long"}
    # It is not in the journal, so that the next run asks again.
    assert work_of(golden(reply="golden")).replies([(q1, Q1), (q2, Q1)]) == ["golden land", "golden"]


def test_a_question_that_cannot_be_judged_is_named_and_the_others_are(squad, tmp_path):
    def judging(pairs):
        if any(question.id == "q2" for question, _ in pairs):
            raise DataError("too long")
        return [Judgement(1.0, 0.7) for _ in pairs]

    work = JudgingWork(judging, WorkPlace(squad.passages, tmp_path, "SQuAD"))
    q1, q2 = squad.questions
    found = work.judgements([(q1, Q1), (q2, Q1)])
    assert found["q1"] == {i: Judgement(1.0, 0.7) for i in Q1}
    assert found["q2"] == dict.fromkeys(Q1, NOT_JUDGED)
    assert work.failures == {"q2": "too long"}


def test_one_pair_that_cannot_be_judged_is_found_in_halves(squad, tmp_path):
    sizes = []

    def judging(pairs):
        sizes.append(len(pairs))
        if any(passage.id == "s/town/0" and question.id == "q2" for question, passage in pairs):
            raise DataError("too long")
        return [Judgement(1.0, 0.7) for _ in pairs]

    ids = tuple(squad.passages)
    found = JudgingWork(judging, WorkPlace(squad.passages, tmp_path, "SQuAD")).judgements(
        [(q, ids) for q in squad.questions]
    )
    assert [(q, i) for q, of in found.items() for i, j in of.items() if j == NOT_JUDGED] == [("q2", "s/town/0")]
    assert len(sizes) <= 1 + 2 * 4  # twelve pairs are halved four times


@pytest.mark.parametrize(("times", "calls"), [(1, [4, 2]), (32, [6])])
def test_a_gpu_is_asked_more_questions_at_once(squad, work_of, times, calls):
    sizes = []

    class Fast(FakeLanguageModel):
        def generate(self, prompts, params):
            sizes.append(len(prompts))
            return super().generate(prompts, params)

    wanted = [(of, ids) for of in squad.questions for ids in (Q1, Q1[:1], Q1[1:])]
    assert work_of(Fast(reply="land", info=ModelInfo(batch_multiplier=times))).replies(wanted) == ["land"] * 6
    assert sizes == calls


def test_a_score_that_is_not_a_number_stops_the_run_and_says_where(squad, tmp_path):
    work = JudgingWork(
        lambda pairs: [Judgement(math.nan, 0.5) for _ in pairs], WorkPlace(squad.passages, tmp_path, "SQuAD")
    )
    with pytest.raises(ModelError, match=r"SQuAD: the score of passage 's/decoy/0' for question 'q1' is not a number"):
        work.judgements([(squad.questions[0], Q1)])


def test_citations_are_places_and_are_kept(squad, work_of, tmp_path):
    work, (q1, _) = work_of(golden(reply="golden land")), squad.questions
    relevance = {"q1": {i: j.probability for i, j in work.judging.judgements([(q1, Q1)])["q1"].items()}}
    work.replies([(q1, Q1)])
    assert work.cited([(q1, Q1)], relevance) == [(1,)]
    later = golden()
    assert work_of(later).cited([(q1, Q1)], relevance) == [(1,)]
    assert later.prompts == []
    assert work_of(later).cited([(q1, Q1)], {"q1": {}}, "unranked") == [(1,)]
    assert (tmp_path / "work/citations-unranked.jsonl").exists()


PASSAGES = {name: Passage(name, text) for name, text in (("a", "golden land"), ("b", "the lake"), ("c", "a town"))}
ASKED = Judged(Question("q", "golden", (Message("user", "lake"),)), ("a",), {})


@pytest.fixture
def nearness(encoder, tmp_path):
    def call(history="last", weight=2.0):
        return NearnessWork(Nearness(encoder, weight), history, WorkPlace(PASSAGES, tmp_path, "Set"))

    return call


def test_cosines_are_made_once_and_kept(nearness, encoder, tmp_path):
    first = nearness().cosines([(ASKED, ("a", "b"))])
    assert list(first["q"]) == ["a", "b"]
    assert encoder.encoded == 2
    assert first["q"]["a"] > first["q"]["b"]
    more = nearness().cosines([(ASKED, ("b", "c"))])
    assert more["q"]["b"] == first["q"]["b"]
    assert encoder.encoded == 3
    assert nearness().cosines([(ASKED, ("a", "b", "c"))])["q"] == first["q"] | more["q"]
    assert [path.name for path in tmp_path.iterdir()] == ["nearness-last-stub@1.jsonl"]


def test_a_conversation_is_compared_as_it_is_searched(nearness):
    asked = [(ASKED, ("a", "b"))]
    last, both = nearness("last").cosines(asked)["q"], nearness("both").cosines(asked)["q"]
    assert both["b"] > last["b"]


def test_what_is_added_is_the_weight_times_the_cosine(nearness):
    judged = {"a": Judgement(1.0, 0.5), "b": Judgement(1.5, 0.5)}
    cosines = nearness().cosines([(ASKED, ("a", "b"))])["q"]
    found = with_cosines(judged, cosines, 2.0)
    assert found["a"].final == pytest.approx(1.0 + 2.0 * cosines["a"])
    assert found["b"].log_odds == 1.5
    assert with_cosines(judged, {}, 0.0) == judged


def test_a_question_without_candidates_has_no_cosines(nearness):
    assert nearness().cosines([(ASKED, ())]) == {"q": {}}
