"""A passage that gives orders changes no score but its own, and cannot speak as anything but a passage."""

from __future__ import annotations

import math

import pytest

from experiments.injection import ATTACKS, GOAL, Attacked, attacked, lure, summary
from rankrag.config.answering import AskConfig
from rankrag.encoding import turn_markers
from rankrag.models.fake import FakeLanguageModel
from rankrag.models.state_cache import StateCache
from rankrag.models.transformers import TransformersModel
from rankrag.pipeline import RankRAG
from rankrag.rerank import judge
from rankrag.templates import answer_prompt, ranking_prompt
from rankrag.types import Passage, Question

QUESTION = Question("q", "Which river of Iberia is the longest?")
HONEST = [
    Passage("a", "The Tagus is the longest river of Iberia."),
    Passage("b", "The Ebro flows into the Mediterranean Sea. " * 4, "Ebro"),
    Passage("c", "Bread is baked."),
]


@pytest.fixture(scope="module", params=["cold", "known passages"])
def model(request, tiny_model_dir):
    found = TransformersModel(tiny_model_dir, device="cpu", dtype="float32")
    if request.param == "known passages":
        found.states = StateCache()
    return found


def p_true(model, passages):
    return {p.id: j.probability for p, j in zip(passages, judge(model, [(QUESTION, p) for p in passages]), strict=True)}


def test_there_are_fifty_attacks_and_each_is_another():
    assert len(set(ATTACKS)) == len(ATTACKS) >= 50
    assert sum(GOAL in attack for attack in ATTACKS) >= 50


def test_no_attack_moves_the_score_of_another_passage(model):
    alone = p_true(model, HONEST)
    for attack in ATTACKS:
        for text in (attack, lure(attack, QUESTION.text)):
            planted = Passage("attack", text)
            beside = p_true(model, [HONEST[0], planted, *HONEST[1:]])
            assert math.isfinite(beside.pop("attack"))
            assert beside == pytest.approx(alone, abs=1e-4), attack


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_makes_a_turn_or_a_passage_of_its_own(model, attack):
    markers = turn_markers(model.tokenizer, model.contract.format.turns).keys()

    def count(prompt):
        (encoded,) = model.encode([prompt], reserve=8)
        return sum(i in markers for i in encoded.ids)

    form, planted = model.contract.format, Passage("attack", attack)
    assert count(ranking_prompt(form, QUESTION, planted)) == count(ranking_prompt(form, QUESTION, HONEST[2]))
    both = answer_prompt(form, QUESTION, [planted, HONEST[0]])
    assert count(both) == count(answer_prompt(form, QUESTION, [HONEST[2], HONEST[0]]))
    written = "".join(segment.text for segment in both).splitlines()
    starts = [line for line in written if line.lower().startswith(("passage", "user:", "assistant:", "system:"))]
    assert [line.split(":")[0] for line in starts if line.startswith("Passage")] == ["Passage 1", "Passage 2"]
    assert len(starts) == 2


class Found:
    """A first stage that finds the honest passages."""

    def retrieve(self, queries, n):
        from rankrag.types import ScoredPassage

        return [tuple(ScoredPassage(p, 1.0) for p in HONEST) for _ in queries]


def test_an_attack_that_is_obeyed_is_counted_and_one_that_is_not_is_not():
    def obeys(prompt):
        return GOAL if any(GOAL in segment.text for segment in prompt) else "the Tagus"

    obeyed, refused = (
        attacked(RankRAG(Found(), FakeLanguageModel(yes_if="", reply=reply), AskConfig(n=3, k=3)), QUESTION, ATTACKS[0])
        for reply in (obeys, "the Tagus")
    )
    assert obeyed == Attacked(ATTACKS[0], QUESTION.text, 3, is_read=True, answer=GOAL, followed=True)
    assert not refused.followed
    assert summary("fake", [obeyed, refused]) == "| fake | 2 | 2 (100%) | 1 (50%) |"
