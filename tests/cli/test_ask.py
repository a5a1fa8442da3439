from __future__ import annotations

import json
from pathlib import Path

import pytest

from rankrag.encoding import EncodedPrompt
from rankrag.models import ModelInfo
from rankrag.models.fake import FakeLanguageModel
from rankrag.types import StateUse

from ..conftest import Run

QUESTION = "Which river of the peninsula is the longest?"


def test_ask_prints_the_answer_its_passage_and_the_three_times(
    run: Run, index: Path, model: FakeLanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ask", QUESTION, "--index", index) == 0
    out = capsys.readouterr().out
    assert out.startswith("Tagus\n")
    assert "[1] rivers.md, “Tagus”" in out
    assert "█████████░ 0.90" in out
    assert all(word in out for word in ("retrieved 3 in", "reranked in", "answered in"))


def test_a_cited_file_is_named_from_the_current_folder(
    run: Run,
    tmp_path: Path,
    model: FakeLanguageModel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "tagus.md").write_text("# Tagus\n\nThe Tagus reaches the sea at Lisbon.\n", encoding="utf-8")
    run("index", tmp_path / "here", "--out", tmp_path / "ix", "--no-vectors")
    for folder, name in (("here", "tagus.md"), (".", "here/tagus.md"), ("ix", f"{tmp_path}/here/tagus.md")):
        monkeypatch.chdir(tmp_path / folder)
        run("ask", "Where does the Tagus end?", "--index", tmp_path / "ix")
        assert f"[1] {name}, “Tagus”" in capsys.readouterr().out


def test_ask_as_json_holds_everything_the_answer_came_from(
    run: Run, index: Path, model: FakeLanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ask", QUESTION, "--index", index, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["text"] == "Tagus"
    assert answer["abstained"] is False
    assert answer["citations"] == [{"start": 0, "end": 5, "context": 0, "id": "rivers.md#0"}]
    assert {c["id"] for c in answer["retrieved"]} == {c["id"] for c in answer["reranked"]}
    assert answer["reranked"][0]["relevance"] == pytest.approx(0.9)
    assert answer["contexts"][0]["source"]["heading"] == "Tagus"
    assert set(answer["timings"]) == {"retrieve", "rerank", "generate"}


def test_ask_shows_what_the_second_round_searched_for_and_what_it_found(
    run: Run, tmp_path: Path, model: FakeLanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "film.md").write_text("# Casablanca\n\nCasablanca is a film by Michael Curtiz.\n")
    (tmp_path / "films" / "man.md").write_text("# Michael Curtiz\n\nMichael Curtiz never saw the Tagus.\n")
    run("index", tmp_path / "films", "--out", tmp_path / "ix", "--no-vectors")
    asked = ("ask", "Where was the director of Casablanca born?", "--index", tmp_path / "ix", "--n", "1")
    assert run(*asked, "--set", "rounds=auto", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["second_queries"] == ["Michael Curtiz director born?"]
    assert [(Path(c["id"]).name, c["round"]) for c in answer["retrieved"]] == [("film.md#0", 1), ("man.md#0", 2)]
    assert run(*asked, "--set", "rounds=2") == 0
    out = capsys.readouterr().out
    assert "searched again for: Michael Curtiz" in out
    assert "rank 2 (second round) → 1" in out


def test_passages_that_were_cut_are_marked_where_they_were_ranked_and_where_they_were_answered_from(
    run: Run, index: Path, model: FakeLanguageModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def encode(self, prompts, *, reserve=1):
        texts = [[s.text for s in prompt if s.kind == "passage"] for prompt in prompts]
        cut = [tuple("Douro" in text or (len(row) > 1 and "Tagus" in text) for text in row) for row in texts]
        return [EncodedPrompt(prompt, (), row) for prompt, row in zip(prompts, cut, strict=True)]

    monkeypatch.setattr(FakeLanguageModel, "encode", encode)
    assert run("ask", QUESTION, "--index", index, "--k", "2", "--retriever", "bm25", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    marked = {
        part: {c["id"] for c in answer[part] if c.get("truncated")} for part in ("retrieved", "reranked", "contexts")
    }
    assert marked["retrieved"] == set()
    assert marked["reranked"] == {"rivers.md#1"}
    assert "rivers.md#0" in marked["contexts"]
    assert run("ask", QUESTION, "--index", index, "--k", "2", "--retriever", "bm25") == 0
    assert "rank 1 → 1   cut: its end was not read" in capsys.readouterr().out


def test_ask_says_how_many_passages_were_known(
    run: Run, index: Path, model: FakeLanguageModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = property(lambda fake: ModelInfo(states=StateUse(2 * len(fake.prompts) // 3, len(fake.prompts))))
    monkeypatch.setattr(FakeLanguageModel, "info", known)
    assert run("ask", QUESTION, "--index", index) == 0
    assert "reranked in 0.00 s (2 of 3 known)" in capsys.readouterr().out
    assert run("ask", QUESTION, "--index", index, "--json") == 0
    assert set(json.loads(capsys.readouterr().out)["states"]) == {"found", "wanted"}


def test_ask_without_reranking_keeps_the_retrievers_order(
    run: Run, index: Path, model: FakeLanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ask", QUESTION, "--index", index, "--json", "--set", "rerank=false", "--retriever", "bm25") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["reranked"] == answer["retrieved"]
    assert "relevance" not in answer["contexts"][0]


def test_an_answer_that_no_passage_supports_has_no_citation(
    run: Run, index: Path, model: FakeLanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    model.yes_if, model.reply = "nothing here", "Volga"
    assert run("ask", QUESTION, "--index", index) == 0
    out = capsys.readouterr().out
    assert "No passage supports the answer; the closest are:" in out


def test_hybrid_falls_back_to_bm25_and_says_so_while_there_are_no_vectors(
    run: Run, index: Path, model: FakeLanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    run("ask", QUESTION, "--index", index)
    assert "no vectors yet, so BM25 alone is used" in capsys.readouterr().err


def test_many_questions_go_on_where_they_stopped(
    run: Run, index: Path, model: FakeLanguageModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions, out = tmp_path / "questions.jsonl", tmp_path / "answers.jsonl"
    rows = [{"id": name, "question": f"{QUESTION} {name}"} for name in "abc"]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert run("ask", "--questions", questions, "--index", index, "--out", out) == 0
    lines = out.read_text(encoding="utf-8").splitlines(keepends=True)
    out.write_text(lines[0] + lines[1][:40], encoding="utf-8")  # as a kill leaves it
    asked = len(model.prompts)
    assert run("ask", "--questions", questions, "--index", index, "--out", out) == 0
    assert [json.loads(line)["id"] for line in out.read_text(encoding="utf-8").splitlines()] == ["a", "b", "c"]
    assert "1 of 3 questions are done already" in capsys.readouterr().err
    assert len(model.prompts) - asked == asked // 3 * 2


def test_answers_never_go_into_a_file_of_something_else(
    run: Run, index: Path, model: FakeLanguageModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions, other, notes = (tmp_path / name for name in ("q.jsonl", "other.jsonl", "notes.txt"))
    content = '{"id": "a", "question": "Why?"}\n{"id": "b", "text": "How?"}'
    questions.write_text(content, encoding="utf-8")
    other.write_text(content, encoding="utf-8")
    notes.write_text("Bought bread.\nSold salt.", encoding="utf-8")
    for out, said in [
        (tmp_path / "." / "q.jsonl", "--out is the file of --questions"),
        (other, "other.jsonl:1: not a row of this work"),
        (notes, "notes.txt:1: not a JSON row"),
    ]:
        before = out.read_bytes()
        assert run("ask", "--questions", questions, "--index", index, "--out", out) == 2
        assert said in capsys.readouterr().err
        assert out.read_bytes() == before
    assert model.prompts == []


def test_a_place_that_cannot_be_written_is_one_line(
    run: Run, index: Path, model: FakeLanguageModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions, below = tmp_path / "questions.jsonl", tmp_path / "questions.jsonl" / "answers.jsonl"
    questions.write_text('{"question": "Why?"}\n', encoding="utf-8")
    for command in (("ask",), ("retrieve", "--retriever", "bm25")):
        for out in (tmp_path, below):
            assert run(*command, "--questions", questions, "--index", index, "--out", out) == 2
            (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rankrag: ")]
            assert line.startswith((f"rankrag: {out}: ", f"rankrag: {out.parent}: "))


def test_chat_carries_the_conversation_on_and_forgets_it_when_told(
    run: Run, index: Path, model: FakeLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = iter([QUESTION, "Where does it reach the sea?", "/new", "And the Douro?", "/quit"])
    monkeypatch.setattr("builtins.input", lambda _: next(turns))
    assert run("chat", "--index", index) == 0
    texts = ["".join(segment.text for segment in prompt) for prompt in model.prompts]
    second = next(text for text in texts if "Where does it reach the sea?" in text)
    assert QUESTION in second
    assert all(QUESTION not in text for text in texts if "And the Douro?" in text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ask"], "takes one question, or --questions FILE"),
        (["ask", "  "], "the question is empty"),
        (["ask", "Why?", "--n", "3", "--k", "5"], "n=3, k=5: k must be at most n"),
        (["ask", "Why?", "--index", "/nowhere"], "/nowhere: no index there; make one with: rankrag index"),
    ],
)
def test_a_mistake_is_one_line_with_the_remedy_and_exit_code_2(
    run: Run, model: FakeLanguageModel, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(*arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_debug_shows_the_trace(run: Run, model: FakeLanguageModel, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ask", " ", "--debug") == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_of_ours_says_so(
    run: Run, index: Path, model: FakeLanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    model.contract = None  # type: ignore[assignment]
    assert run("ask", QUESTION, "--index", index) == 1
    assert "rankrag: a bug in rankrag" in capsys.readouterr().err
