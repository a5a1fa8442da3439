from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from rankrag.data.files import read_rows, write_rows
from rankrag.evaluation.aggregate import read_results
from rankrag.evaluation.page import as_html, write_page
from rankrag.evaluation.parts import Openers
from rankrag.evaluation.run import evaluate
from rankrag.evaluation.systems import System
from rankrag.models.fake import FakeLanguageModel

EVIL = "</script><script>document.title = 'broken in'</script><img src=x onerror=\"document.title='broken in'\">"
SYSTEMS = (
    System(name="mini", model="mini", retriever="bm25"),
    System(name="no <b>rerank</b>", model="mini", ranker="none", retriever="bm25"),
    System(name="first stage", model="none", ranker="none", retriever="bm25", role="first stage", history_query="last"),
)
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


@pytest.fixture
def page(data, tmp_path):
    """The page of a small run whose passages, questions and answers try to break out."""
    corpus = data / "squad/squad.corpus.jsonl.zst"
    write_rows(corpus, [{**row, "text": f"{row['text']} {EVIL}", "title": EVIL} for _, row in read_rows(corpus)])
    questions = data / "squad/squad.dev.jsonl.zst"
    rows = [{**row, "question": f"{row['question']} {EVIL}"} for _, row in read_rows(questions)]
    write_rows(questions, rows)
    model = FakeLanguageModel(yes_if="golden", reply=f"golden land {EVIL}")
    run = tmp_path / "run"
    sets = ["squad", "msmarco"]
    evaluation = evaluate(data, run, SYSTEMS, Openers(lambda name: (model, name)), sets=sets)
    return write_page(evaluation, tmp_path / "deep" / "page.html")


def embedded(page):
    found = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', page.read_text(), re.DOTALL)
    return {name: json.loads(text) for name, text in found}


def test_every_line_is_in_the_page_as_it_was(page):
    data = embedded(page)
    index = data["index"]
    assert [(row[0], row[1], row[2]) for row in index["rows"]] == [
        (0, 0, "q1"), (0, 0, "q2"), (0, 1, "q1"), (0, 1, "q2"), (1, 0, "m1"), (1, 1, "m1"),
    ]  # fmt: skip
    assert index["rows"][0][3] == f"tagus river {EVIL}"
    first = data["q0.0.0"][0]
    names = [name for name, _, _ in data["p0.0"]]
    assert [names[i] for i in first["r"]][:2] == ["s/decoy/0", "s/tagus/0"]
    assert [names[i] for i in first["g"]] == ["s/tagus/0"]
    assert names[first["o"][0]] == "s/tagus/0"
    assert first["p"][0] == 0.9
    assert first["a"] == f"golden land {EVIL}"
    assert "p" not in data["q0.1.0"][0]
    assert data["p0.0"][0][2].endswith(EVIL)


def test_a_system_that_took_no_part_leaves_the_others_their_names(page, tmp_path):
    evaluation = read_results(tmp_path / "run")
    others = tuple(one for one in evaluation.systems if one.system.name != "mini")
    index = embedded(write_page(replace(evaluation, systems=others), page))["index"]
    assert {index["systems"][row[1]] for row in index["rows"]} == {"no <b>rerank</b>"}


def test_foreign_text_cannot_become_markup(page):
    text = page.read_text()
    assert "<img" not in text
    assert "no <b>rerank" not in text
    assert len(re.findall(r"<script\b", text)) == len(embedded(page)) + 1
    assert text.count("</script>") == len(embedded(page)) + 1


def test_the_page_asks_for_nothing(page):
    text = re.sub(r'<script type="application/json".*?</script>', "", page.read_text(), flags=re.DOTALL)
    addresses = set(re.findall(r"https?://[^\s\"'<]+", text))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(src|href)=|@import|url\(", text)
    assert "default-src 'none'" in text


def test_the_overview_has_bars_curves_and_the_tables_of_the_report(page):
    text = page.read_text()
    assert text.count("<svg") == 3  # the second set is not answered, so abstaining has no curve
    bars = re.findall(r"<div class=outcomes><b>(.*?)</b>(.*?)</div>", text, re.DOTALL)
    assert [name for name, _ in bars] == ["mini", "no &lt;b&gt;rerank&lt;/b&gt;"] * 2
    assert [sum(map(int, re.findall(r"flex:(\d+)", parts))) for _, parts in bars] == [2, 2, 1, 1]
    assert "(ECE " in text
    assert "(area " in text
    for heading in ("First stages", "Reranking", "Answers", "Citations", "Error analysis", "Time"):
        assert f"<h2>{heading}</h2>" in text


def test_markdown_becomes_html_and_nothing_else_does():
    made = as_html("# A <i>b</i>\n\nOne `co<de` and **bold**.\n\n- x\n- y\n\n| a | b |\n|---|---|\n| 1 | `c` |")
    assert "<h1>A &lt;i&gt;b&lt;/i&gt;</h1>" in made
    assert "<p>One <code>co&lt;de</code> and <strong>bold</strong>.</p>" in made
    assert "<li>x</li>" in made
    assert "<div class=wide><table>" in made
    assert "<td><code>c</code></td>" in made
    assert "href" not in as_html("[a](https://x.org) ![b](https://x.org/y.png) <https://x.org>")
    assert "src" not in as_html("![b](https://x.org/y.png)")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_real_browser_shows_a_linked_question(page, tmp_path):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    command += ["--virtual-time-budget=5000", "--dump-dom", f"{page.as_uri()}#0/0/q2"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    dom = re.sub(r'<script type="application/json".*?</script>', "", shown, flags=re.DOTALL)
    assert re.search(r'data-ready="\d+"', dom)
    assert dom.count('role="option"') == 6
    assert re.search(r"<h2>ebro river &lt;/script&gt;", dom)
    assert "Reranked, with P(True)" in dom
    assert "<title>broken in" not in dom
    assert "<img" not in dom
