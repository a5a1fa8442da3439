from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from rankrag.blend.contamination import N, grams, marks_of, overlaps, without
from rankrag.blend.sources import QuestionSet, Record
from rankrag.config.blend import EvaluationConfig
from rankrag.errors import DataError
from rankrag.matching import normalise
from rankrag.types import Message, Passage, Question

LONG = " ".join(f"word{i}" for i in range(30))


def evaluation_of(tmp_path, rows, corpus=(), **more):
    for name, content in (("dev", rows), ("corpus", corpus)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    fields = {"rows": "dev.jsonl"} | ({"corpus": "corpus.jsonl"} if corpus else {})
    return marks_of(EvaluationConfig.model_validate(fields | more), tmp_path)


def source_of(*records, **passages):
    return QuestionSet("s", tuple(records), {i: Passage(i, text) for i, text in passages.items()}, Counter())


def asked(name, text, *history, positives=(), negatives=()):
    return Record(Question(name, text, tuple(Message("user", h) for h in history)), positives, negatives)


def test_the_same_question_is_found_whatever_its_case_and_marks(tmp_path):
    seen = evaluation_of(tmp_path, [{"id": "1", "question": "Who is the King?"}])
    source = source_of(asked("a", "who is king"), asked("b", "who is queen"))
    (found,) = overlaps(source, [seen], 0.5)
    assert found.same_question == {"a"}
    assert [r.question.id for r in without(source, found).records] == ["b"]
    assert source.dropped == {"question of an evaluation set": 1}


def test_a_turn_is_the_same_only_after_the_same_turns(tmp_path):
    turns = [{"role": "user", "content": "Is it open?"}]
    seen = evaluation_of(tmp_path, [{"id": "1", "question": "Yes", "history": turns}])
    (found,) = overlaps(source_of(asked("a", "Yes", "Is it open?"), asked("b", "Yes", "Is it shut?")), [seen], 0.5)
    assert found.same_question == {"a"}


def test_thirteen_words_in_a_row_of_a_question_are_found_and_twelve_are_not(tmp_path):
    seen = evaluation_of(tmp_path, [{"id": "1", "query": LONG}])
    words = LONG.split()
    source = source_of(asked("a", " ".join(["so", *words[3:16]])), asked("b", " ".join(["so", *words[3:15], "on"])))
    (found,) = overlaps(source, [seen], 0.5)
    assert found.shared_words == {"a"}
    assert not found.same_question
    assert [r.question.id for r in without(source, found).records] == ["b"]
    assert source.dropped == {"13 words of an evaluation question": 1}


def test_a_passage_counts_where_more_than_the_allowed_share_of_it_is_in_a_gold_passage(tmp_path):
    rows = [{"id": "1", "question": "?", "positive_ids": ["gold"]}]
    corpus = [{"id": "gold", "text": LONG}, {"id": "other", "text": "other " + " ".join(f"x{i}" for i in range(30))}]
    seen = evaluation_of(tmp_path, rows, corpus)
    tail = " ".join(f"y{i}" for i in range(30))
    source = source_of(same=LONG, part=f"{LONG} {tail}", other=corpus[1]["text"], short="word1 word2")
    assert overlaps(source, [seen], 0.5)[0].passages == {"same"}
    assert overlaps(source, [seen], 0.3)[0].passages == {"same", "part"}
    assert overlaps(source, [seen], 1.0)[0].passages == set()


def test_a_short_passage_is_found_where_it_is_the_same(tmp_path):
    seen = evaluation_of(tmp_path, [{"id": "1", "question": "?", "contexts": [{"text": "The short one."}]}])
    (found,) = overlaps(source_of(a="the short one", b="one"), [seen], 0.5)
    assert found.passages == {"a"}


@pytest.mark.parametrize(
    "held", [{"ctxs": [{"title": "", "text": LONG}]}, {"ground_truth_ctx": {"ctx": LONG, "index": 0}}]
)
def test_passages_of_chatrags_rows_are_found_and_what_a_retriever_found_elsewhere_is_not_gold(tmp_path, held):
    turns = [{"role": "user", "content": "Is it open?"}]
    seen = evaluation_of(tmp_path, [{"messages": turns, **held}])
    assert overlaps(source_of(same=LONG, other="other words"), [seen], 0.5)[0].passages == {"same"}
    if "ctxs" in held:
        seen = evaluation_of(tmp_path, [{"question": "Is it open?", **held}])
        assert overlaps(source_of(same=LONG), [seen], 0.5)[0].passages == set()


def test_a_record_goes_with_its_gold_passage_and_loses_a_negative_that_goes(tmp_path):
    seen = evaluation_of(tmp_path, [{"id": "1", "query": "?", "candidates": [{"text": LONG, "label": 1}]}])
    source = source_of(
        asked("a", "a", positives=("same",)),
        asked("b", "b", positives=("own",), negatives=("same",)),
        same=LONG,
        own="o",
    )
    clean = without(source, overlaps(source, [seen], 0.5)[0])
    assert [(r.question.id, r.negatives) for r in clean.records] == [("b", ())]
    assert set(clean.passages) == {"own"}
    assert source.dropped == {"gold passage of an evaluation set": 1, "passage of an evaluation set": 1}


def test_what_is_found_is_what_a_slow_search_finds(tmp_path):
    rng = random.Random(0)
    texts = [" ".join(rng.choices("ab", k=rng.randrange(10, 30))) for _ in range(60)]
    rows = [{"id": str(i), "question": "?", "contexts": [{"text": text}]} for i, text in enumerate(texts[:30])]
    source = source_of(**{f"p{i}": text for i, text in enumerate(texts[30:])})
    (found,) = overlaps(source, [evaluation_of(tmp_path, rows)], 0.5)

    def runs(text):
        words = normalise(text).split()
        return [words[i : i + N] for i in range(len(words) - N + 1)] or [words]

    known = [run for text in texts[:30] for run in runs(text)]
    slow = {i for i, p in source.passages.items() if sum(r in known for r in runs(p.text)) * 2 > len(runs(p.text))}
    assert found.passages == slow
    assert 0 < len(slow) < 30


def test_an_empty_text_has_no_grams():
    assert list(grams("")) == []


def test_a_row_without_a_question_is_named(tmp_path):
    with pytest.raises(DataError, match=r"dev\.jsonl:1: no question, it needs 'question' or 'query'"):
        evaluation_of(tmp_path, [{"id": "1", "words": "x"}])


def test_a_question_without_words_is_not_the_same_as_another(tmp_path):
    (found,) = overlaps(source_of(asked("a", "???")), [evaluation_of(tmp_path, [{"id": "1", "query": "!"}])], 0.5)
    assert not any(found.counts().values())


def test_stock_phrases_over_a_passage_do_not_give_a_set_away(tmp_path):
    row = {"id": "1", "question": "Who scored last?", "contexts": [{"text": LONG}]}
    seen = evaluation_of(tmp_path, [row], questions=False)
    (found,) = overlaps(source_of(asked("a", "Who scored last?"), p=LONG), [seen], 0.5)
    assert (found.same_question, found.passages) == (frozenset(), {"p"})
