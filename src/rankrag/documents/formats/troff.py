"""Lines of troff: escapes as characters, arguments of commands, commands of mdoc within a line."""

from __future__ import annotations

import re

_GLYPHS = {
    "em": "—",
    "en": "–",
    "hy": "-",
    "bu": "•",
    "co": "©",
    "rg": "®",
    "tm": "™",
    "lq": "“",
    "rq": "”",
    "oq": "‘",
    "cq": "’",
    "aq": "'",
    "dq": '"',
    "ti": "~",
    "ha": "^",
    "ga": "`",
    "rs": "\\",
    "bs": "\\",
    "sl": "/",
    "ba": "|",
    "Fo": "«",
    "Fc": "»",
    "fo": "‹",
    "fc": "›",
    "->": "→",
    "<-": "←",
    "<=": "≤",
    ">=": "≥",
    "!=": "≠",
    "+-": "±",
    "mu": "×",
    "di": "÷",
    "de": "°",
    "sc": "§",
    "pl": "+",
    "mi": "−",
    "eq": "=",
    "at": "@",
    "sh": "#",
    "Do": "$",
    "ss": "ß",
    "ae": "æ",
    "AE": "Æ",
    "oe": "œ",
    "OE": "Œ",
    "o/": "ø",
    "O/": "Ø",
    "oa": "å",
    "aa": "´",
    "br": "|",
    ":a": "ä",
    ":o": "ö",
    ":u": "ü",
    ":A": "Ä",
    ":O": "Ö",
    ":U": "Ü",
    "'e": "é",
    "'a": "á",
    "'o": "ó",
    "'i": "í",
    "'u": "ú",
    "`e": "è",
    "`a": "à",
    "^e": "ê",
    "^a": "â",
    "^o": "ô",
    ",c": "ç",
    "~n": "ñ",
    "~a": "ã",
    "~o": "õ",
    "lB": "[",
    "rB": "]",
    "lC": "{",
    "rC": "}",
    "la": "⟨",
    "ra": "⟩",
    "ci": "○",
    "sq": "□",
    "Eu": "€",
    "Po": "£",
    "*a": "α",
    "*b": "β",
    "*p": "π",
    "*m": "μ",
    "mc": "µ",
    "if": "∞",
    "12": "½",
    "14": "¼",
    "34": "¾",
    "ul": "_",
}
_ESCAPE = re.compile(
    r"""\\(?: (?P<char>[-'`eE.~ 0^&|/,:%)cd{}u!?aprtz])
        | \((?P<two>..) | \[(?P<name>[^\]]*)\] | C'(?P<quoted>[^']*)'
        | [fFgkmMnY](?:\[[^\]]*\]|\(..|.) | \*(?:\[(?P<string>[^\]]*)\]|\((?P<short>..)|(?P<one>.))
        | s(?:[+-]?\d{1,2}|\[[^\]]*\]|'[^']*'|\([+-]?..|[+-]?\(..) | [hvwlLDbRoxXZNAB]'(?P<argument>[^']*)'
        | (?P<comment>["\#].*) )""",
    re.VERBOSE,
)
_CHARS = {"-": "-", "'": "'", "`": "`", "e": "\\", "E": "\\", ".": ".", "~": "\u00a0", " ": " ", "0": " ", "t": "\t"}
_COMMANDS = """
    Nm Fl Ar Cm Ic Pa Sy Em Li Ev Va Dv Er Fn Ft Fa Op Xr Nd Sq Dq Pq Ql Qq Bq Brq Aq Do Dc So Sc Po Pc Oo Oc Ns Sm Sx
    No An Lk Mt Ad Bx Ox Nx Fx Dx Ux At St Rv Ex Lb In Vt Tn Bo Bc Ao Ac Xo Xc Cd Ms D1 Dl Tg Ap
"""
MDOC = frozenset(_COMMANDS.split())
"""Commands of mdoc whose arguments are text."""

FONTS = frozenset({"B", "I", "BI", "IB", "BR", "RB", "IR", "RI", "SM", "SB"})
"""Commands that set their arguments in one font, or in two by turns."""

_QUOTES = {
    "Sq": "‘’",
    "Dq": "“”",
    "Pq": "()",
    "Op": "[]",
    "Bq": "[]",
    "Qq": '""',
    "Ql": "‘’",
    "Aq": "<>",
    "Brq": "{}",
    "Do": "“",
    "Dc": "”",
    "So": "‘",
    "Sc": "’",
    "Po": "(",
    "Pc": ")",
    "Oo": "[",
    "Oc": "]",
    "Bo": "[",
    "Bc": "]",
}


def shown_text(line: str, strings: dict[str, str]) -> str:
    """Return a line with its escapes as characters."""
    if "\\" not in line:
        return line

    def shown(found: re.Match[str]) -> str:
        if (char := found["char"]) is not None:
            return _CHARS.get(char, "")
        if found["string"] or found["short"] or found["one"]:
            return strings.get(found["string"] or found["short"] or found["one"], "")
        name = found["two"] or found["name"] or found["quoted"]
        if name is None:
            return ""
        if re.fullmatch(r"u[0-9A-F]{4,6}", name):
            return chr(min(int(name[1:], 16), 0x10FFFF))
        if re.fullmatch(r"char\d{1,7}", name):
            return chr(min(int(name[4:]), 0x10FFFF))
        return _GLYPHS.get(name, "")

    return _ESCAPE.sub(shown, line)


def request_arguments(rest: str, strings: dict[str, str]) -> list[str]:
    """Return the arguments of a command; quotes hold one together."""
    rest = re.sub(r'\\".*', "", rest)
    found = re.findall(r'"((?:[^"]|"")*)"?|((?:\\ |[^\s"])(?:\\ |\S)*)', rest)
    return [shown_text((quoted or bare).replace('""', '"'), strings) for quoted, bare in found]


def font_text(name: str, words: list[str]) -> str:
    """Return the arguments of a command of fonts as text; those of two fonts by turns stand without blanks."""
    by_turns = len(name) == 2 and name[0] != name[1] and name not in ("SM", "SB")
    return ("" if by_turns else " ").join(words)


def mdoc_text(rest: str, page: str, strings: dict[str, str]) -> str:
    """Return a line of mdoc commands as text."""
    words: list[str] = []
    closing: list[str] = []
    glued = False
    flag = False
    for word in request_arguments(rest, strings):
        text = word
        if word in MDOC:
            if word == "Fl":
                flag = True
                continue
            if word == "Ns":
                glued = True
                continue
            if word == "Nm" and not words:
                words.append("\0name")
            marks = _QUOTES.get(word, "")
            if len(marks) == 2:
                words.append(("" if not glued else "\x08") + marks[0] + "\x08>")
                closing.append(marks[1])
            elif marks:
                words.append(marks)
            flag = False
            continue
        if flag:
            text, flag = (f"-{word}" if word not in "|,.;:()[]" else f"- {word}"), False
        if words and words[-1] == "\0name":
            words[-1] = text
            continue
        words.append(("\x08" if glued or text in ".,;:)]?!" else "") + text)
        glued = False
    if flag:
        words.append("-")
    words = [page if word == "\0name" else word for word in words]
    words += [f"\x08{mark}" for mark in reversed(closing)]
    text = " ".join(words)
    return text.replace(" \x08", "").replace("\x08> ", "").replace("\x08>", "").replace("\x08", "").strip()
