"""Styles and numbered lists of Word files."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from rankrag.documents.formats.packages import Element, Package, child, local, value

OFF = {"0", "false", "off"}
"""Values that turn a property off."""

_ROMAN = ((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))


@dataclass(frozen=True, slots=True)
class Style:
    """What a style of paragraphs or letters says, its parents' word included."""

    level: int | None = None  # of a heading
    hidden: bool = False
    numbered: tuple[str, str] | None = None  # list and depth


def _style(name: str, styles: dict[str, Element], depth: int) -> Style:
    element = styles.get(name)
    if element is None or depth > 20:
        return Style()
    parent = _style(value(child(element, "basedOn")) or "", styles, depth + 1)
    shown = (value(child(element, "name")) or "").lower()
    level = parent.level
    if shown.startswith("heading ") and shown[8:].isdecimal():
        level = int(shown[8:]) - 1
    elif shown == "title":
        level = 0
    if (outline := value(child(element, "pPr", "outlineLvl"))) and outline.isdecimal():
        level = int(outline) if int(outline) < 9 else None
    hidden = child(element, "rPr", "vanish")
    numbers = child(element, "pPr", "numPr")
    numbered = parent.numbered
    if numbers is not None:
        numbered = value(child(numbers, "numId")) or (numbered or ("0", "0"))[0], value(child(numbers, "ilvl")) or "0"
    is_hidden = value(hidden) not in OFF if hidden is not None else parent.hidden
    return Style(level, is_hidden, numbered)


def read_styles(package: Package, target: str) -> dict[str, Style]:
    """Return the styles of a file, by id; none where it has no such part."""
    if target not in package.names:
        return {}
    found = {value(e, "styleId") or "": e for e in package.xml(target) if local(e) == "style"}
    return {name: _style(name, found, 0) for name in found}


def read_lists(package: Package, target: str) -> dict[str, dict[int, tuple[str, str, int]]]:
    """Return form, pattern and first number of each level of each list."""
    if target not in package.names:
        return {}
    root = package.xml(target)
    abstract = {value(e, "abstractNumId"): e for e in root if local(e) == "abstractNum"}
    lists = {}
    for number in root:
        if local(number) != "num":
            continue
        levels = {}
        found = abstract.get(value(child(number, "abstractNumId")))
        for level in found if found is not None else ():
            depth, start = value(level, "ilvl") or "", value(child(level, "start")) or "1"
            if local(level) == "lvl" and depth.isdecimal():
                pattern = value(child(level, "lvlText")) or ""
                form = value(child(level, "numFmt")) or "decimal"
                levels[int(depth)] = form, pattern, int(start) if start.isdecimal() else 1
        lists[value(number, "numId") or ""] = levels
    return lists


class Numbers:
    """Counts the items of the lists of a file."""

    def __init__(self, lists: dict[str, dict[int, tuple[str, str, int]]]) -> None:
        self._lists = lists
        self._counts: dict[str, dict[int, int]] = defaultdict(dict)

    def shown(self, numbered: tuple[str, str] | None) -> str:
        """Return what a list or a numbered heading shows before its text, and count it."""
        if numbered is None or numbered[0] == "0" or numbered[0] not in self._lists or not numbered[1].isdecimal():
            return ""
        levels, depth = self._lists[numbered[0]], int(numbered[1])
        form, pattern, start = levels.get(depth, ("bullet", "", 1))
        if form == "none":
            return ""
        if form == "bullet":
            return "  " * depth + "- "
        counts = self._counts[numbered[0]]
        counts[depth] = counts.get(depth, start - 1) + 1
        for deeper in [level for level in counts if level > depth]:
            del counts[deeper]
        for level in range(depth + 1):
            one_form, _, begin = levels.get(level, ("decimal", "", 1))
            pattern = pattern.replace(f"%{level + 1}", _formed(counts.get(level, begin), one_form))
        return f"{pattern} " if pattern.strip() else ""


def _formed(number: int, form: str) -> str:
    if form in ("lowerLetter", "upperLetter") and 0 < number <= 26:
        letter = chr(ord("a") + number - 1)
        return letter.upper() if form == "upperLetter" else letter
    if form in ("lowerRoman", "upperRoman") and 0 < number < 40:
        roman, left = "", number
        for size, letters in _ROMAN:
            while left >= size:
                roman, left = roman + letters, left - size
        return roman.upper() if form == "upperRoman" else roman
    return f"{number:02d}" if form == "decimalZero" else str(number)
