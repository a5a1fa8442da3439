# ruff: noqa: E501
from __future__ import annotations

from pathlib import Path

import pytest

from rankrag.documents.document import Document
from rankrag.documents.readers import read_bytes


def read(body: str, head: str = "") -> Document:
    return read_bytes(Path("a.html"), f"<html><head>{head}</head><body>{body}</body></html>".encode(), "a.html")


def test_a_page_is_its_main_text_without_navigation_notices_and_hidden_parts():
    page = read(
        '<header><a href="/">Weir Trust</a></header><nav><a href="/a">Home</a> <a href="/b">Locks</a></nav>'
        '<div id="cookie-banner">This site uses cookies. <button>Fine</button></div>'
        "<main><h1>Locks</h1><p>The lock opens at six.</p><p hidden>draft</p><p style='display: none'>old</p>"
        "<noscript>Turn on scripts</noscript><template>row</template><select><option>Chad</option></select></main>"
        "<aside><a href=/x>More locks</a></aside><footer>© Weir Trust</footer><script>track()</script>",
        "<style>p{}</style>",
    )
    assert page.text == "Locks\n\nThe lock opens at six."


def test_navigation_by_class_goes_and_prose_of_that_class_stays():
    links = '<ul class="menu"><li><a href=a>One</a></li><li><a href=b>Two</a></li></ul>'
    prose = '<div class="menu"><p>Today the kitchen serves pike with leeks, and nothing else.</p></div>'
    assert read(f"{links}<p>Welcome.</p>{prose}").text == (
        "Welcome.\n\nToday the kitchen serves pike with leeks, and nothing else."
    )


def test_a_page_that_is_all_links_is_kept():
    assert "Chapter two" in read('<div class="nav"><a href=1>Chapter one</a> <a href=2>Chapter two</a></div>').text


def test_a_table_of_contents_of_the_page_goes_and_one_of_other_pages_stays():
    here = '<div class="toc"><a href="#a">Sluice</a> <a href="#b">Bank</a></div>'
    there = '<div class="toc"><a href="x.html">Sluices of Kent</a></div>'
    assert read(f"{here}<h2>Sluice</h2><p>Text.</p>").text == "Sluice\n\nText."
    assert "Sluices of Kent" in read(f"{there}<h2>Locks</h2><p>Text.</p>").text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<p>It covers 9 km<sup>2</sup>.</p>", "It covers 9 km²."),
        ("<p>About 10<sup>9</sup> drops, 10<sup>-3</sup> bar.</p>", "About 10⁹ drops, 10⁻³ bar."),
        ("<p>CO<sub>2</sub> and x<sub>max</sub></p>", "CO₂ and x_max"),
        ("<p>the 21<sup>st</sup>, 1<sup>er</sup>, M<sup>me</sup>, Weir<sup>TM</sup></p>", "the 21st, 1er, Mme, WeirTM"),
        ("<p>x<sup>n+1</sup> and e<sup>iy</sup></p>", "x^(n+1) and e^iy"),
        ('<p>A pass costs 7<sup><a href="#n3">3</a></sup> pounds.</p>', "A pass costs 7 [3] pounds."),
        ("<p>The miller<sup>4</sup> left.</p>", "The miller [4] left."),
        (
            "<p>It costs 12<sup>1</sup> francs.</p><p><sup>1</sup> In summer.</p>",
            "It costs 12 [1] francs.\n\n[1] In summer.",
        ),
    ],
)
def test_raised_and_lowered_text_keeps_its_meaning(body: str, text: str):
    assert read(body).text == text


def test_a_paragraph_is_no_heading_and_nothing_is_escaped():
    page = read("<p># of gates: 4</p><p>set max_gate_cm to 2 * 3 in a__b</p><h2>1. Gates</h2><p>Text.</p>")
    assert [(section.heading, section.text.strip()) for section in page.sections] == [
        (None, "# of gates: 4\n\nset max_gate_cm to 2 * 3 in a__b"),
        ("1. Gates", "1. Gates\n\nText."),
    ]


def test_lists_and_options_stay_apart():
    page = read(
        "<ol start=3><li>Pay.<li>Wait.</ol><ul><li>Rope<ul><li>Hemp</ul></ul><dl><dt>-f<dd>Force.<dt>-n<dd>Dry.</dl>"
    )
    assert page.text == "3. Pay.\n4. Wait.\n\n- Rope\n  - Hemp\n\n-f\nForce.\n\n-n\nDry."


@pytest.mark.parametrize(("start", "first"), [("3", 3), ("0", 0), ("x", 1)])
def test_a_list_is_a_paragraph_of_its_own_whatever_number_it_starts_at(start: str, first: int):
    page = read(f"<p>Then:</p><ol start={start}><li>Pay.<li>Wait.</ol><ol><li value=5>Go.</ol>")
    assert page.text == f"Then:\n\n{first}. Pay.\n{first + 1}. Wait.\n\n5. Go."


def test_a_table_has_a_line_for_each_row_and_its_header():
    page = read(
        "<table><caption>Tolls</caption><thead><tr><th>Boat<th>Toll</thead>"
        "<tr><td rowspan=2>Barge<td>9 | 4</tr><tr><td>12</table>"
    )
    (section,) = page.sections
    (table,) = section.tables
    assert page.text == "Tolls\n\nBoat | Toll\nBarge | 9 | 4\nBarge | 12"
    assert (page.text[table.start : table.end], table.header) == ("Barge | 9 | 4\nBarge | 12", "Boat | Toll")


def test_a_table_for_layout_is_text():
    page = read("<table role=presentation><tr><td><h1>Locks</h1><p>One.</p></td></tr></table>")
    assert [section.heading for section in page.sections] == ["Locks"]


def test_code_keeps_its_lines():
    assert read("<pre>if x:\n    # go\n</pre>").text == "if x:\n    # go"


def test_soft_hyphens_and_permalinks_go_and_long_descriptions_of_pictures_stay():
    body = '<h2>Lock<a class="headerlink" href="#l">¶</a></h2><p>Was&shy;ser <img alt="The lock in 1890"><img alt="tip"></p>'
    assert read(body).text == "Lock\n\nWasser The lock in 1890"


@pytest.mark.parametrize("encoding", ["iso8859-2", "koi8-r", "shift_jis", "windows-1253"])
def test_the_encoding_that_a_page_states_is_used_wherever_its_first_odd_byte_is(encoding: str):
    text = {"iso8859-2": "żółć", "koi8-r": "шлюз", "shift_jis": "水門", "windows-1253": "φράγμα"}[encoding]
    head = f"<meta http-equiv=Content-Type content='text/html; charset={encoding}'><style>{'p{}' * 30_000}</style>"
    page = read_bytes(Path("a.html"), f"<html><head>{head}</head><p>{text}</p>".encode(encoding), "a.html")
    assert (page.text, page.notes) == (text, ())


def test_an_embedded_picture_is_no_text():
    assert (
        read(f"<p>Before.</p><img src='data:image/png;base64,{'A' * 50_000}'><p>After.</p>").text == "Before.\n\nAfter."
    )


def test_quotes_readings_and_numbers_of_items_are_shown():
    body = '<p>He said <q>go</q> to <ruby>水<rt>mizu</rt></ruby>.</p><ol><li>Pay<li value="7">Go</ol>'
    assert read(body).text == "He said “go” to 水(mizu).\n\n1. Pay\n7. Go"


def test_a_table_in_a_cell_is_on_its_line():
    inner = "<table><tr><th>day</th><th>fee</th></tr><tr><td>Monday</td><td>9</td></tr></table>"
    body = f"<table><tr><th>lock</th><th>tolls</th></tr><tr><td>Mill</td><td>{inner}</td></tr></table>"
    assert read(body).text == "lock | tolls\nMill | day | fee; Monday | 9"


@pytest.mark.parametrize(
    ("part", "stays"),
    [
        ("<footer><p>All rights.</p></footer>", False),
        ("<aside><a href=x>More</a> <a href=y>Most</a></aside>", False),
        ("<aside><p>A remark of the author.</p></aside>", True),
        ("<article><header><p>By Ada.</p></header></article>", True),
        ("<div class=cookie-consent><p>We use cookies.</p></div>", False),
        ("<div class=cookie-consent><h1>Cookies</h1></div>", True),
        ("<nav><h1>Locks</h1></nav>", True),
        ("<div class=sidebar><p>Long prose that links to nothing.</p></div>", True),
    ],
)
def test_frames_and_notices_go_where_they_are_no_text(part: str, stays: bool):
    shown = read(f"<p>{'The river is long. ' * 20}</p>{part}").text.count("\n\n")
    assert bool(shown) is stays
