from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankrag.documents.chunking import MAX_TOKENS, WORDS, split, tokens
from rankrag.documents.document import Document, Section
from rankrag.documents.sentences import sentence_spans
from rankrag.types import Passage

SENTENCE = "The river is long and it flows to the north sea. "


def passages_of(text: str, *borders: int, page: bool = False) -> list[Passage]:
    ends = [*borders, len(text)]
    starts = [0, *borders]
    sections = tuple(
        Section(
            start,
            text[start:end],
            page=number if page else None,
            heading=None if page else f"h{number}",
            bare=_is_bare(text[start:end], page=page),
        )
        for number, (start, end) in enumerate(zip(starts, ends, strict=True), start=1)
    )
    return list(split(Document("a/b.md", "Rivers", sections)))


def _is_bare(text: str, *, page: bool) -> bool:
    lines = [line for line in text.split("\n") if line.strip()]
    return not lines if page else all(line.startswith("#") for line in lines)


def span(passage: Passage) -> tuple[int, int]:
    source = passage.source
    assert source is not None
    assert source.start is not None
    assert source.end is not None
    return source.start, source.end


def sentences(text: str) -> list[str]:
    return [text[start:end].strip() for start, end in sentence_spans(text, 0, len(text))]


MIXED = st.sampled_from(
    [*'ab.!? \n\t。！\u00ad#"”)', "Dr. ", "河", "😀", "שלום ", "Բառ ", "é" * 60, "word ", "\n\n", "x" * 300]
)


@given(st.lists(st.one_of(MIXED, st.text()), max_size=60).map("".join))
@settings(max_examples=200)
def test_every_character_but_space_stands_in_exactly_one_passage(text: str):
    passages = passages_of(text, len(text) // 2)
    spans = [span(passage) for passage in passages]
    assert all(passage.text == text[start:end] for passage, (start, end) in zip(passages, spans, strict=True))
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert "".join("".join(passage.text.split()) for passage in passages) == "".join(text.split())
    assert all(tokens(passage.text) <= MAX_TOKENS for passage in passages)
    assert all(passage.text == passage.text.strip() for passage in passages)


def test_passages_have_about_a_hundred_words_and_end_with_a_sentence():
    passages = passages_of(SENTENCE * 200)
    assert all(WORDS * 0.7 <= len(passage.text.split()) <= WORDS * 1.3 for passage in passages)
    assert all(passage.text.endswith("sea.") for passage in passages)


def test_a_passage_has_a_stable_id_the_title_and_its_place():
    first, second = passages_of(SENTENCE * 20)
    assert (first.id, second.id, first.title) == ("a/b.md#0", "a/b.md#1", "Rivers")
    assert first.source is not None
    assert (first.source.path, first.source.heading) == ("a/b.md", "h1")


def test_a_text_without_words_gives_no_passage():
    assert passages_of("") == []
    assert passages_of(" \n \n\t") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He left. She came.", ["He left.", "She came."]),
        ("Well. Dr. Smith paid 3.5 pounds. So it is.", ["Well.", "Dr. Smith paid 3.5 pounds.", "So it is."]),
        ("Use e.g. BM25 here. J. R. Smith did.", ["Use e.g. BM25 here.", "J. R. Smith did."]),
        ("It met Mr.\nJones. Good.", ["It met Mr.\nJones.", "Good."]),
        ("“Stop!” She did. (See p. 3 there.) Then?", ["“Stop!”", "She did.", "(See p. 3 there.)", "Then?"]),
        ("He went... and came. End", ["He went... and came.", "End"]),
        ("河很长。它向北流！真的？", ["河很长。", "它向北流！", "真的？"]),
        ("“好。”他说。", ["“好。”", "他说。"]),
        ("A heading\n\nA paragraph", ["A heading", "A paragraph"]),
        ("He met Dr.\n\nA new paragraph", ["He met Dr.", "A new paragraph"]),
        ("הנהר ארוך. הוא זורם צפונה.", ["הנהר ארוך.", "הוא זורם צפונה."]),
        ("Fine 😀! Next 👩‍👩‍👧.", ["Fine 😀!", "Next 👩‍👩‍👧."]),
    ],
)
def test_sentences_end_where_a_reader_sees_their_end(text: str, expected: list[str]):
    assert sentences(text) == expected


def test_a_passage_does_not_cross_a_heading_or_a_page():
    text = SENTENCE * 8
    for page in (False, True):
        passages = passages_of(text, len(SENTENCE) * 2, page=page)
        assert [span(passage)[0] for passage in passages] == [0, len(SENTENCE) * 2]
    assert passages[1].source is not None
    assert passages[1].source.page == 2


def test_a_heading_without_a_body_goes_with_the_section_below_it():
    text = "# Rivers\n\n## Elbe\n\n" + SENTENCE
    (passage,) = passages_of(text, text.index("## Elbe"))
    assert passage.text == text.strip()
    assert passage.source is not None
    assert passage.source.heading == "h2"


def test_a_heading_of_a_thousand_characters_is_a_passage_of_its_own():
    text = "# " + "river " * 200 + "\n" + SENTENCE
    assert passages_of(text, text.index("The"))[-1].text == SENTENCE.strip()


def test_a_document_without_sections_gives_no_passage():
    assert list(split(Document("a", "A", ()))) == []


def test_an_empty_page_gives_no_passage_and_no_page_takes_its_place():
    text = SENTENCE + "\n\n" + SENTENCE
    first, second = passages_of(text, len(SENTENCE), len(SENTENCE) + 2, page=True)
    assert first.source is not None
    assert second.source is not None
    assert (first.source.page, second.source.page) == (1, 3)


def test_no_small_rest_is_left_at_the_end_of_a_section():
    for count in range(1, 60):
        passages = passages_of(SENTENCE * count)
        assert len(passages) == 1 or min(len(passage.text.split()) for passage in passages) >= 30


def test_where_a_paragraph_ends_is_the_best_border():
    text = SENTENCE * 8 + "\n\n" + SENTENCE * 12
    first, *_ = passages_of(text)
    assert first.text == (SENTENCE * 8).strip()


@pytest.mark.parametrize(
    "text",
    [
        "word " * 100_000,
        "x" * 1_000_000,
        "河" * 100_000,
        "😀" * 50_000,
        "." * 300_000 + "a",
        ". " * 50_000,
        '."' * 100_000,
        "a" + " " * 1_000_000 + "b",
        "a" + "\n" * 300_000 + "b",
        "\n " * 100_000 + "a",
        "# " * 100_000,
        "- item\n" * 50_000,
    ],
    ids=lambda text: f"{text[:4]!r} x {len(text)}",
)
def test_texts_without_borders_are_cut_in_linear_time(text: str):
    started = time.process_time()
    passages = passages_of(text)
    assert time.process_time() - started < 5
    assert max(tokens(passage.text) for passage in passages) <= MAX_TOKENS
    assert "".join("".join(passage.text.split()) for passage in passages) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "least"), [("river", 2), ("2026", 4), ("河", 2), ("😀", 3), ("a\n\nb", 4), (" " * 80, 10), ("", 0)]
)
def test_tokens_are_counted_rather_too_many_than_too_few(text: str, least: int):
    assert tokens(text) == least
