from __future__ import annotations

import pytest

from rankrag.documents.decoding import decode
from rankrag.errors import DataError

TEXTS = {
    "German": "Der Müller öffnet das Wehr früh, über die Brücke führt eine Straße. Größer wird der Fluß erst später.",
    "Spanish": "El niño cruzó el río por la mañana. ¿Dónde está la compuerta más pequeña? Allí, señor.",
    "Czech": "Příští mlýn leží na řece blíž k městu. Člověk přišel včera večer a kůň pil čistou vodu.",
    "Polish": "Młyn stoi nad rzeką, a śluza jest wąska. Źródło płynie głęboko pod łąką.",
    "Russian": "Мельница стоит на берегу реки. Шлюз открывают рано утром, когда туман ещё лежит.",
    "Greek": "Ο μύλος βρίσκεται δίπλα στο ποτάμι. Η πύλη ανοίγει νωρίς το πρωί και κλείνει αργά.",
    "Turkish": "Değirmen nehrin kıyısında duruyor. Şafakta kapı açılır, akşam güneşi çökünce kapanır.",
    "Japanese": "水車小屋は川のそばにあります。水門は朝早く開きます。",
    "Chinese": "磨坊在河边。水闸一大早就打开了，人们都来这里。",
    "Korean": "물레방아는 강가에 있다. 수문은 아침 일찍 열린다.",
}
FORMS = [
    *(("German", name) for name in ("cp1252", "mac_roman", "cp850", "utf-16-le", "utf-16-be")),
    *(("Spanish", name) for name in ("cp1252", "mac_roman")),
    *(("Czech", name) for name in ("cp1250", "iso8859-2", "cp852")),
    *(("Polish", name) for name in ("cp1250", "iso8859-2")),
    *(("Russian", name) for name in ("cp1251", "koi8-r", "cp866", "iso8859-5", "utf-16-le")),
    *(("Greek", name) for name in ("cp1253", "iso8859-7")),
    ("Turkish", "cp1254"),
    *(("Japanese", name) for name in ("shift_jis", "euc_jp", "iso2022_jp", "utf-16-le")),
    *(("Chinese", name) for name in ("gb18030", "hz", "utf-16-be")),
    *(("Korean", name) for name in ("euc_kr", "iso2022_kr")),
]


@pytest.mark.parametrize(("language", "encoding"), FORMS)
def test_an_encoding_that_nobody_states_is_found_and_said(language: str, encoding: str):
    text = f"{TEXTS[language]}\n"
    read = decode(text.encode(encoding), "a.txt")
    assert read.text == text
    assert read.note is not None
    assert not read.note.lost


EIGHT_BITS = [form for form in FORMS if not form[1].startswith(("utf", "iso2022", "hz"))]


@pytest.mark.parametrize(("language", "encoding"), EIGHT_BITS)
def test_a_sentence_in_a_long_english_text_decides_its_encoding(language: str, encoding: str):
    english = "The mill stands by the river, and the gate is opened early in the morning.\n" * 40
    text = f"{english}{TEXTS[language]}\n{english}"
    assert decode(text.encode(encoding), "a.txt").text == text


def test_escapes_of_a_terminal_are_no_encoding():
    text = "\x1b[31mweir\x1b[0m and ~{ gate } or \x1b(B mill\n"
    assert (decode(text.encode(), "a.log").encoding, decode(text.encode(), "a.log").text) == ("utf-8", text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_with_its_mark_needs_no_word(encoding: str):
    read = decode("Über die Brücke".encode(encoding), "a.txt")
    assert (read.text, read.note) == ("Über die Brücke", None)


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ('<meta charset="iso-8859-7">', "iso8859-7"),
        ("<META HTTP-EQUIV=Content-Type CONTENT='text/html; CHARSET=windows-1251'>", "cp1251"),
        ('<?xml version="1.0" encoding="EUC-JP"?>', "euc_jp"),
        ("<meta charset=x-sjis>", "shift_jis"),
        ("<!-- <meta charset=koi8-r> --><meta charset=windows-1251>", "cp1251"),
    ],
)
def test_a_page_is_read_in_the_encoding_that_it_states(head: str, encoding: str):
    text = {"iso8859-7": "πύλη", "cp1251": "шлюз", "euc_jp": "水門", "shift_jis": "水門"}[encoding]
    assert decode(f"{head}<p>{text}".encode(encoding), "a.html", page=True).text == f"{head}<p>{text}"


def test_a_statement_that_cannot_be_true_is_passed_over_and_said():
    data = '<meta charset="euc-kr"><p>' + "Über die Brücke führt eine Straße, früh schon. " * 9
    read = decode(data.encode("cp1252"), "a.html", page=True)
    assert read.text == data
    assert read.note is not None
    assert read.note.text.startswith("says it is euc-kr, but is read as ")


@pytest.mark.parametrize("data", [b"\x7fELF\0\0\1\2", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0", bytes(range(256))])
def test_binary_data_is_no_text(data: bytes):
    with pytest.raises(DataError, match="a binary file"):
        decode(data, "a.txt")
