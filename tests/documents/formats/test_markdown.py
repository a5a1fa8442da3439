# ruff: noqa: E501
from __future__ import annotations

from pathlib import Path

import pytest

from rankrag.documents.document import Document
from rankrag.documents.readers import read_bytes


def read(text: str) -> Document:
    return read_bytes(Path("notes.md"), text.encode(), "notes.md")


def headings(text: str) -> list[str | None]:
    return [section.heading for section in read(text).sections]


@pytest.mark.parametrize(
    "text",
    [
        "# A\n\n~~~~ text\n~~~\n# no\n~~~~\n\n## B\n",
        "# A\n\n```a b\n```c\n# no\n```\n\n## B\n",
        "# A\n\n```\n# no\n`````\n\n## B\n",
        "# A\n\n```run``` it first.\n\n## B\n",
        "# A\n\n- ```\n  # no\n  ```\n\n## B\n",
        "# A\n\n    # no\n\n## B\n",
        "# A\n\n<!--\n# no\n-->\n\n## B\n",
        "A\n=\n\n\\# no\n\nB\n-\n",
    ],
)
def test_headings_are_those_of_commonmark(text: str):
    assert headings(text) == ["A", "A > B"]


@pytest.mark.parametrize(
    ("front", "title"),
    [
        ("---\n# by a tool\ntitle: 'Weir care'\ntags: [a]\n---\n", "Weir care"),
        ("---\nTitle: Weir care\n...\n", "Weir care"),
        ('+++\ntitle = "Weir care"\n+++\n', "Weir care"),
        ("---\nlayout: page\n---\n", "notes"),
    ],
)
def test_front_matter_is_no_text_and_its_title_is_the_title(front: str, title: str):
    document = read(f"{front}\nGrease the gate.\n\n## Chain\n\nOil it.\n")
    assert (document.title, document.text) == (title, "Grease the gate.\n\n## Chain\n\nOil it.\n")


def test_a_rule_at_the_start_is_no_front_matter():
    assert "Grease" in read("---\n\nGrease the gate.\n\n---\n").text


@pytest.mark.parametrize(
    "picture",
    [
        "![gate](data:image/png;base64,{})",
        "![gate][g]\n\n[g]: <data:image/png;base64,{}>",
        "<img src='data:image/png;base64,{}'>",
    ],
)
def test_an_embedded_picture_leaves_no_passage(picture: str):
    document = read(f"# Gate\n\nBefore.\n\n{picture.format('iVBORw0KGgo' * 6_000)}\n\nAfter.\n")
    assert len(document.text) < 60
    assert "After." in document.text


def test_marks_that_a_reader_does_not_see_go_and_lines_stay():
    text = 'See [the log](http://a.org/b_c "t"),\n**bold** `a*b` \\_x\\_ &amp; H<sub>2</sub>O<br>next.\n\n> - *quoted*\n>   more\n'
    assert read(text).text == "See the log,\nbold a*b _x_ & H₂O\nnext.\n\n> - quoted\n>   more\n"


def test_a_table_keeps_its_header():
    document = read("Tolls:\n\n| Boat | Toll |\n|:--|--:|\n| Barge | `9` |\n| Punt | [2](x) |\n\nEnd.\n")
    (section,) = document.sections
    (table,) = section.tables
    assert table.header == "Boat | Toll"
    assert document.text[table.start : table.end] == "Barge | 9\nPunt | 2\n"


def test_plain_markdown_stays_as_it_is():
    text = "# Weir\n\nIt is old. It is\nwide.\n\n* one\n* two\n\n## Bank\n\nGreen.\n"
    assert read(text).text == text
