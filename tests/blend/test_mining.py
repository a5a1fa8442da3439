from __future__ import annotations

import numpy as np

from rankrag.blend.mining import best, mine, terms_of
from rankrag.blend.sources import QuestionSet, Record
from rankrag.types import Passage, Question


def test_the_best_places_are_those_of_a_full_sort_with_ties_by_place():
    rng = np.random.default_rng(0)
    for size in (1, 5, 40, 3000):
        scores = rng.integers(0, 8, size).astype(np.float32)
        places = sorted((i for i in range(size) if scores[i] > 0), key=lambda i: (-scores[i], i))
        assert best(scores, 20) == places[:20]


def test_only_passages_that_share_a_term_are_negatives_and_ties_keep_the_order_of_the_passages():
    texts = ["Rain falls.", "River A.", "Snow falls.", "River B.", "The and of."]
    passages = {f"p{i}": Passage(f"p{i}", text) for i, text in enumerate(texts)}
    asked = ["Which river?", "Which snow falls?", "Which one of them?"]
    records = tuple(Record(Question(str(i), text), ()) for i, text in enumerate(asked))
    assert mine(QuestionSet("s", records, passages), 3) == [("p1", "p3"), ("p2", "p0"), ()]
    assert mine(QuestionSet("s", records[:1], {"p": Passage("p", "The and of.")}), 3) == [()]


def test_terms_stay_as_they_were_so_that_a_seed_gives_the_same_blend():
    assert terms_of("The RTX-4090's caf\u00e9 rivers, 1,250,000 of C++") == [
        "rtx",
        "4090",
        "caf\u00e9",
        "river",
        "1",
        "250",
        "000",
        "c",
    ]
    assert terms_of("\u6771\u4eac\u90fd") == ["\u6771\u4eac", "\u4eac\u90fd"]
