"""The estimate of tokens against rankrag-mini's own tokenizer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from transformers import AutoTokenizer

from rankrag.documents.chunking import MAX_TOKENS, split
from rankrag.documents.document import Document, Section
from rankrag.errors import ModelError
from rankrag.models.prepared import prepare_model

from .scripts import BARE_LATIN, SENTENCES


@pytest.fixture(scope="module")
def longest() -> Callable[[str], int]:
    """Return the most tokens that a passage of a text has."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(prepare_model("rankrag-mini"))
    except ModelError as error:
        pytest.skip(str(error))

    def count(text: str) -> int:
        passages = list(split(Document("a", "A", (Section(0, text),))))
        assert len(passages) > 1
        return max(len(ids) for ids in tokenizer([p.text for p in passages], add_special_tokens=False)["input_ids"])

    return count


@pytest.mark.parametrize("script", SENTENCES)
def test_no_passage_has_more_tokens_than_it_may(longest: Callable[[str], int], script: str) -> None:
    assert longest(SENTENCES[script] * 40) <= MAX_TOKENS
    assert longest("".join(SENTENCES[script].split()) * 40) <= MAX_TOKENS or SENTENCES[script].isascii()


@pytest.mark.parametrize("language", BARE_LATIN)
def test_languages_in_bare_latin_letters_go_over_by_a_third_at_most(
    longest: Callable[[str], int], language: str
) -> None:
    assert longest(BARE_LATIN[language] * 40) <= MAX_TOKENS * 4 / 3
