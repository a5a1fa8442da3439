"""The shipped manuals, asked about each setting and each option that they explain."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from experiments.first_stage.names import naming_questions, read_passages_of
from rankrag.documents.parts import SourcePassages
from rankrag.retrieval.store import PassageStore

MANUALS = Path(__file__).parents[3] / "examples" / "manuals" / "corpus"


@pytest.fixture(scope="module")
def passages():
    return read_passages_of(MANUALS)


@pytest.fixture(scope="module")
def questions(passages):
    return naming_questions(passages)


def test_settings_and_options_are_asked_about(questions):
    texts = {question.text for question in questions}
    assert "What is the default value of autovacuum_naptime?" in texts
    assert "What does --jobs of vacuumdb do?" in texts
    assert "What does --aggressive of git gc do?" in texts
    assert Counter(question.kind for question in questions) == {"setting": 12, "option": 118}


def test_the_gold_passage_has_the_name_in_a_line_of_its_own(passages, questions):
    text = {passage.id: passage.text for passage in passages}
    for question in questions:
        name = question.text.removeprefix("What is the default value of ").removeprefix("What does ").split()[0]
        assert any(line.startswith(name.rstrip("?")) for i in question.gold for line in text[i].split("\n"))


def test_what_a_question_names_is_among_the_first_ten(tmp_path_factory, passages, questions):
    store = PassageStore.create_or_open(tmp_path_factory.mktemp("names") / "index")
    store.put([SourcePassages("manuals", "0", tuple(passages))])
    store.refresh()
    rankings = store.lexical().retrieve([question.text for question in questions], 10)
    for kind in ("setting", "option"):
        found = [
            [scored.passage.id in question.gold for scored in ranking]
            for question, ranking in zip(questions, rankings, strict=True)
            if question.kind == kind
        ]
        assert np.mean([any(gold) for gold in found]) >= 0.95
        assert np.mean([gold[0] for gold in found]) >= 0.9  # options: 0.653 by the terms of title and text alone
