from __future__ import annotations

import pytest

from rankrag.documents.sentences import sentences


def pieces(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    "text",
    [
        "Prof. Dr. Anna M. Weiß baute das Wehr.",
        "Mr. J. R. Miller of St. Ives, Inc. owns it.",
        "See Fig. 3, vol. 2 and pp. 4 f.",
        "Am 3. Oktober, im 19. Jahrhundert, der 2. Bau: z. B. die Mühle bzw. Das Wehr.",
        "Er zahlt ca. 12 Mio. Euro an Hrn. Kurz usw.",
        "Mme. Dupont et M. Leroy habitent au no. 5, env. 2 km.",
        "El Sr. García y la Sra. Ruiz viven en EE.UU. desde 1990.",
        "Il Sig. Rossi e il dott. Bianchi, cfr. pag. 12.",
        "De heer J. de Wit betaalt o.a. De rekening.",
        "Prof. dr hab. inż. Kowalski mieszka przy ul. Długiej, tzn. Blisko.",
        "Viz např. Praha, tj. Hlavní město, č. 4.",
        "В 1990 г. Москва и т.д. Река, ул. Ленина, им. Горького.",
        "Ο κ. Νίκος είναι π.χ. Εδώ.",
        "Bay A. Yılmaz, Atatürk Cad. No. 5.",
        "1. First of May the office is shut.",
        "The price is 3.50 euros.",
    ],
)
def test_abbreviations_initials_and_ordinals_end_no_sentence(text: str):
    assert pieces(text) == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. Jane Holm is the keeper. She lives here.", ["Dr. Jane Holm is the keeper.", "She lives here."]),
        ("He said no. Then he left.", ["He said no.", "Then he left."]),
        ("It has 12. Nobody knows more.", ["It has 12.", "Nobody knows more."]),
        ("It opened in 1990. It shut in 2001.", ["It opened in 1990.", "It shut in 2001."]),
        ("هل هو مفتوح؟ نعم هو كذلك.", ["هل هو مفتوح؟", "نعم هو كذلك."]),
        ("यह बाँध है। यह पुराना है।", ["यह बाँध है।", "यह पुराना है।"]),
        ("水門。開く！", ["水門。", "開く！"]),
        ("A heading\n\nText", ["A heading", "Text"]),
        (" \n ", []),
    ],
)
def test_sentences_end_where_they_end(text: str, expected: list[str]):
    assert pieces(text) == expected
