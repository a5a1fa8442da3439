"""Where sentences end: the one splitter, for passages and for citations."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Each pattern looks at a character a bounded number of times: "....", spaces and quotes in any number cost linear time.
_SENTENCE_END = re.compile(
    r"""[.!?…؟۔।॥։።]["'”’»)\]]*+\s++  # a mark, closing quotes, space
      | [。！？]++[」』”’）]*+\s*+     # CJK marks need no space
      | \n[ \t\r]*+\n\s*+""",  # a paragraph ends
    re.VERBOSE,
)
_LONGEST = 14  # characters of an abbreviation with the full stop and the character before it

_SHORT = """
    Mrs Prof etc vs cf ca pp al approx Fig Sec Vol Inc Ltd Nos Gen Col Rev Hon Jan Feb Aug Sept Oct Nov Dec Apr
    Messrs Capt Cmdr Maj Sgt Gov Sen Rep Pres Supt Univ Dept Corp Bros Blvd Ave viz resp Ing Dipl Lic Arq
    bzw usw evtl ggf inkl exkl sog vgl Tel Aufl Mio Mrd Abb Str Hrsg geb gest allg bes Okt Dez Hr Hrn
    dhr mevr drs blz bijv enz dvs osv jf jfr mio mia bl eks t.ex f.eks
    Sig Mme Mlle MM Mgr janv févr avr juil déc éd env boul Ste Sra Srta Dra Dña Uds Vds Gral Lda Ltda Exmo Exma Ilmo
    Profa aprox avda dcha izq dott prof sig sigg avv geom rag ecc Sigg Dott Avv Geom cca dna
    dr ul al inż mgr hab tzn tzw np itd itp św płk godz tys mln mld např tzv atd apod popř tj nám mudr judr phdr doc roč
    ifj özv stb kb vö szül esim yms jne vrt puh Doç Yrd bkz Cad Sok Mah Apt Şti
    гг ул пр просп пер кв табл проф акад доц руб коп тыс млн млрд напр обл чел мин сек им ср св κκ δηλ σελ βλ Κος Κα
"""
_BEFORE_NUMBERS = """
    no nos nr nrs num núm art arts cap caps fig figs p pg pag pagg pág págs vol vols ch chap sec abs abb tab rys
    obr s str č čís kap bd st стр рис с гл ст п τ αρ rn cl par eq eqs ref refs
"""
_BEGINS = r"(?<![^\s(\[“\"'„«])"
_ABBREVIATION = re.compile(
    rf"{_BEGINS}(?:[^\W\d_]|[A-Z][a-z]|(?:[^\W\d_]{{1,2}}\.)+[^\W\d_]{{1,2}}"
    rf"|{'|'.join(map(re.escape, _SHORT.split()))})\.$"
)
_NUMBERED = re.compile(rf"{_BEGINS}(?:{'|'.join(_BEFORE_NUMBERS.split())})\.$", re.IGNORECASE)
_ORDINAL = re.compile(  # "am 3. Oktober": an article or preposition, then a number of two digits
    r"(?<!\w)(?:am|im|der|die|das|den|dem|des|vom|zum|zur|beim|ab|bis|seit|und|ins|jeder|jedem)\s\d{1,2}\.$",
    re.IGNORECASE,
)
_ITEM = re.compile(r"(?:(?<=\n)|^)[ \t]*\d{1,3}\.$")  # the number of a list's item
_TWO_DIGITS = re.compile(r"(?<!\d)(?<!\d[.,])\d{1,2}\.$")
_MONTH = re.compile(
    r"(?:Januar|Jänner|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember|Jahrhundert|Auflage)\b"
)


def sentence_spans(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of the sentences between two offsets, the space after a sentence included."""
    begin = start
    for found in _SENTENCE_END.finditer(text, start, end):
        after = found.end()
        mark = found.group()
        if mark[0] == "." and mark.count("\n") < 2 and _goes_on(text, begin, found.start() + 1, after, end):
            continue
        yield begin, after
        begin = after
    if begin < end:
        yield begin, end


def sentences(text: str) -> list[tuple[int, int]]:
    """Return the spans of the sentences of a text, without the space between them."""
    spans = []
    for start, end in sentence_spans(text, 0, len(text)):
        piece = text[start:end]
        if bare := piece.strip():
            first = start + piece.index(bare[0])
            spans.append((first, first + len(bare)))
    return spans


def _goes_on(text: str, begin: int, stop: int, after: int, end: int) -> bool:
    """Whether the full stop before `stop` ends no sentence.

    It ends none before a small letter, or behind an abbreviation, an initial, or an ordinal number.
    """
    if after < end and text[after].islower():
        return True
    near = max(begin, stop - _LONGEST)
    if _ABBREVIATION.search(text, near, stop) or _ITEM.search(text, near, stop):
        return True
    if stop - begin < _LONGEST and text[begin : stop - 1].strip().isdigit():
        return True
    if after < end and text[after].isdigit():
        return bool(_NUMBERED.search(text, near, stop))
    if _ORDINAL.search(text, near, stop):
        return True
    return bool(_TWO_DIGITS.search(text, near, stop) and _MONTH.match(text, after, end))
