from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import rankrag.documents.loading
from rankrag.retrieval.store import PassageStore

from ..conftest import Run
from ..documents.pdf_parts import drawn_pdf


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "tagus.md").write_text("# Tagus\n\nThe Tagus reaches the sea at Lisbon.\n", encoding="utf-8")
    (docs / "douro.txt").write_text("The Douro reaches the sea at Porto.\n", encoding="utf-8")
    (docs / "picture.png").write_bytes(b"\x89PNG")
    return docs


def index(run: Run, *arguments: object) -> int:
    return run("index", *arguments, "--out", "ix", "--no-vectors")


def test_index_takes_documents_in_and_says_what_it_passed_over(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert index(run, "docs") == 0
    err = capsys.readouterr().err
    assert "2 documents read, 0 unchanged, 0 gone; the index holds 2 passages." in err
    assert "1 .png" in err


def test_only_changed_documents_are_read_again_and_gone_ones_leave(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index(run, "docs")
    (folder / "ebro.txt").write_text("The Ebro reaches the sea at Deltebre.\n", encoding="utf-8")
    (folder / "douro.txt").unlink()
    capsys.readouterr()
    assert index(run, "docs") == 0
    assert "1 documents read, 1 unchanged, 1 gone; the index holds 2 passages." in capsys.readouterr().err
    (ranking,) = PassageStore.open("ix").lexical().retrieve(["which reaches the sea"], 9)
    assert {c.passage.id.partition("#")[0] for c in ranking} == {f"{folder}/ebro.txt", f"{folder}/tagus.md"}


def listed(store: PassageStore) -> dict[str, int]:
    """The passages of each document, by its name from the current folder."""
    return {os.path.relpath(source.path): source.passages for source in store.sources()}


def write_wikipedia(path: Path, count: int, word: str = "river") -> None:
    rows = "".join(f'{i}\t"The ""{word}"" number {i}."\tTitle {i}\n' for i in range(count))
    path.write_text(f"id\ttext\ttitle\n{rows}", encoding="utf-8")


def test_a_large_file_of_rows_comes_in_parts_and_leaves_as_one(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rankrag.documents.loading, "PART_PASSAGES", 4)
    write_wikipedia(folder / "wiki.tsv", 10)
    assert index(run, "docs") == 0
    assert "3 documents read, 0 unchanged, 0 gone; the index holds 12 passages." in capsys.readouterr().err
    parts = {"docs/wiki.tsv/000000": 4, "docs/wiki.tsv/000001": 4, "docs/wiki.tsv/end": 2}
    assert listed(PassageStore.open("ix")) == {"docs/douro.txt": 1, "docs/tagus.md": 1, **parts}
    (ranking,) = PassageStore.open("ix").lexical().retrieve(["river number 7"], 1)
    assert (ranking[0].passage.text, ranking[0].passage.title) == ('The "river" number 7.', "Title 7")

    index(run, "docs")
    assert "0 documents read, 3 unchanged, 0 gone" in capsys.readouterr().err
    write_wikipedia(folder / "wiki.tsv", 3, "lake")
    index(run, "docs")
    assert listed(PassageStore.open("ix")) == {"docs/douro.txt": 1, "docs/tagus.md": 1, "docs/wiki.tsv": 3}
    write_wikipedia(folder / "wiki.tsv", 9)
    index(run, "docs")
    assert len(PassageStore.open("ix")) == 11
    (folder / "wiki.tsv").unlink()
    index(run, "docs")
    assert listed(PassageStore.open("ix")) == {"docs/douro.txt": 1, "docs/tagus.md": 1}


def test_a_run_killed_in_a_large_file_goes_on_with_the_part_it_had_reached(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rankrag.documents.loading, "PART_PASSAGES", 4)
    monkeypatch.setattr("rankrag.documents.indexing.BATCH_PASSAGES", 4)
    write_wikipedia(folder / "wiki.tsv", 10)
    put, done = PassageStore.put, []

    def killed_at_the_second(self, batch):  # type: ignore[no-untyped-def]
        names = [os.path.relpath(document.path) for document in batch]
        if "docs/wiki.tsv/000001" in names and len(done) < 2:
            raise KeyboardInterrupt
        done.extend(names)
        put(self, batch)

    monkeypatch.setattr(PassageStore, "put", killed_at_the_second)
    assert index(run, "docs/wiki.tsv") == 130
    assert done == ["docs/wiki.tsv/000000"]
    done.append("the first run")
    assert index(run, "docs/wiki.tsv") == 0
    assert done[2:] == ["docs/wiki.tsv/000001", "docs/wiki.tsv/end"]
    assert len(PassageStore.open("ix")) == 10


def test_a_large_file_is_one_document_to_whoever_uses_the_index(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rankrag.documents.loading, "PART_PASSAGES", 4)
    write_wikipedia(folder / "wiki.tsv", 10)
    index(run, "docs")
    capsys.readouterr()
    assert run("index", "--list", "--out", "ix") == 0
    out, err = capsys.readouterr()
    wiki = f"{folder}/wiki.tsv"
    assert [line.split()[:2] for line in out.splitlines() if "wiki" in line] == [["docs/wiki.tsv", "10"]]
    assert "3 documents, 12 passages" in err
    assert run("index", "--remove", "docs/wik.tsv", "--out", "ix") == 2
    assert f"did you mean {wiki}" in capsys.readouterr().err
    write_wikipedia(folder / "other.tsv", 1)
    index(run, "docs")
    assert f"passage id '0' stands both in {wiki} and in {folder}/other.tsv;" in capsys.readouterr().err
    (folder / "wiki.tsv").unlink()
    (folder / "other.tsv").unlink()
    index(run, "docs")
    assert "2 unchanged, 1 gone; the index holds 2 passages." in capsys.readouterr().err
    write_wikipedia(folder / "wiki.tsv", 10)
    index(run, "docs")
    assert run("index", "--remove", "docs/wiki.tsv", "--out", "ix") == 0
    assert "Removed docs/wiki.tsv: 10 passages." in capsys.readouterr().err
    index(run, "docs")
    assert len(PassageStore.open("ix")) == 12


def test_a_large_file_that_was_taken_out_by_halves_is_read_again_when_it_is_back(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rankrag.documents.loading, "PART_PASSAGES", 4)
    monkeypatch.setattr("rankrag.documents.indexing.REMOVED_AT_ONCE", 1)
    write_wikipedia(folder / "wiki.tsv", 10)
    index(run, "docs")
    remove = PassageStore.remove

    def killed_after_the_first(self, *names):  # type: ignore[no-untyped-def]
        remove(self, *names)
        raise KeyboardInterrupt

    (folder / "wiki.tsv").rename("elsewhere.tsv")
    with monkeypatch.context() as killing:
        killing.setattr(PassageStore, "remove", killed_after_the_first)
        assert index(run, "docs") == 130
    Path("elsewhere.tsv").rename(folder / "wiki.tsv")
    assert index(run, "docs") == 0
    assert len(PassageStore.open("ix")) == 12


def test_a_large_file_whose_ids_clash_is_told_of_in_each_run_until_they_do_not(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rankrag.documents.loading, "PART_PASSAGES", 4)
    monkeypatch.setattr("rankrag.documents.indexing.BATCH_PASSAGES", 4)
    write_wikipedia(folder / "a.tsv", 1)
    write_wikipedia(folder / "wiki.tsv", 10)
    for _ in range(2):
        index(run, "docs")
        assert f"Left out: passage id '0' stands both in {folder}/a.tsv and" in capsys.readouterr().err
    (folder / "a.tsv").unlink()
    index(run, "docs")  # what is gone leaves after what is new has come
    index(run, "docs")
    assert len(PassageStore.open("ix")) == 12


def test_a_table_without_ids_is_a_document_and_a_short_row_of_passages_is_left_out(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "prices.tsv").write_text("item\tprice\nsalt\t2\n", encoding="utf-8")
    (folder / "wiki.tsv").write_text("id\ttext\ttitle\n1\tOne.\tT\n2\tTwo.\n", encoding="utf-8")
    assert index(run, "docs") == 0
    err = capsys.readouterr().err
    assert "docs/wiki.tsv:3: not as many fields as the others" in err
    assert "the index holds 4 passages" in err
    (ranking,) = PassageStore.open("ix").lexical().retrieve(["salt"], 1)
    assert ranking[0].passage.text == "item | price\nsalt | 2"


def test_one_bad_file_does_not_keep_the_others_out(run: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 broken")
    (folder / "rows.jsonl").write_text('{"id": "a", "text": "A row."}\nno json\n', encoding="utf-8")
    assert index(run, "docs") == 0
    err = capsys.readouterr().err
    assert "Left out: docs/broken.pdf: " in err
    assert "docs/rows.jsonl:2: not JSON" in err
    assert "the index holds 3 passages" in err


@pytest.mark.parametrize("parts", [20_000, 1])
def test_a_file_that_is_emptied_leaves_the_index(
    run: Run, folder: Path, parts: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rankrag.documents.loading, "PART_PASSAGES", parts)
    write_wikipedia(folder / "wiki.tsv", 3)
    index(run, "docs")
    (folder / "tagus.md").write_text(" \n", encoding="utf-8")
    (folder / "wiki.tsv").write_text("", encoding="utf-8")
    capsys.readouterr()
    assert index(run, "docs") == 0
    err = capsys.readouterr().err
    assert "Left out: docs/tagus.md: empty" in err
    assert "Left out: docs/wiki.tsv: empty" in err
    assert "0 documents read, 1 unchanged, 2 gone; the index holds 1 passages." in err
    assert listed(PassageStore.open("ix")) == {"docs/douro.txt": 1}


def test_a_file_that_cannot_be_read_any_more_stays_as_it_was_indexed(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index(run, "docs")
    (folder / "tagus.md").write_bytes(b"\0\1")
    assert index(run, "docs") == 0
    assert "Kept as it was indexed: docs/tagus.md: a binary file" in capsys.readouterr().err
    assert listed(PassageStore.open("ix")) == {"docs/douro.txt": 1, "docs/tagus.md": 1}


def test_files_that_all_stay_as_they_were_indexed_are_no_error(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index(run, "docs/tagus.md")
    (folder / "tagus.md").write_bytes(b"\0\1")
    assert index(run, "docs/tagus.md") == 0
    err = capsys.readouterr().err
    assert "Kept as it was indexed: docs/tagus.md: a binary file" in err
    assert "0 documents read, 0 unchanged, 0 gone; the index holds 1 passages." in err


def test_only_what_is_not_there_is_gone_not_what_cannot_be_looked_at(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        (folder / "locked" / name).mkdir(parents=True)
        (folder / "locked" / name / "a.txt").write_text(f"The sea {name}.\n", encoding="utf-8")
    index(run, "docs")
    stat, scandir = os.stat, os.scandir

    def refused(function):  # type: ignore[no-untyped-def]
        def refuse(path, *arguments, **names):  # type: ignore[no-untyped-def]
            if str(path).startswith((f"{folder}/locked", "docs/locked")):
                raise PermissionError(13, "Permission denied", str(path))
            return function(path, *arguments, **names)

        return refuse

    monkeypatch.setattr(os, "stat", refused(stat))
    monkeypatch.setattr(os, "scandir", refused(scandir))
    (folder / "douro.txt").unlink()
    capsys.readouterr()
    assert index(run, "docs") == 0
    err = capsys.readouterr().err
    assert "Kept as it was indexed: docs/locked/one/a.txt: cannot be looked at (Permission denied), and 1 more" in err
    assert "0 documents read, 1 unchanged, 1 gone; the index holds 3 passages." in err
    assert index(run, "docs/locked/one/a.txt") == 2
    assert "docs/locked/one/a.txt: cannot be looked at (Permission denied)" in capsys.readouterr().err


def test_states_are_made_for_the_questions_to_come(
    run: Run, folder: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert index(run, "docs", "--states", "--model", tiny_model_dir, "--dtype", "float32") == 0
    assert "2 states made." in capsys.readouterr().err
    model = ("--model", tiny_model_dir, "--dtype", "float32")
    assert run("ask", "Where is the Tagus?", "-i", "ix", "--retriever", "bm25", *model) == 0
    assert "(1 of 1 known)" in capsys.readouterr().out
    assert run("index", "-i", "ix", "--states", "--model", tiny_model_dir, "--dtype", "float32") == 0
    assert "0 states made." in capsys.readouterr().err
    assert run("index", "docs", "-i", "ix", "--model", tiny_model_dir) == 2
    assert "--model is for --states" in capsys.readouterr().err


def test_list_shows_documents_and_remove_takes_them_out(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index(run, "docs")
    assert run("index", "--remove", "docs/douro.txt", "--list", "--out", "ix") == 0
    out = capsys.readouterr().out
    assert "docs/tagus.md" in out
    assert "docs/douro.txt" not in out


def test_a_document_has_one_name_from_any_folder(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    index(run, "docs")
    other = folder.parent / "other" / "docs"
    other.mkdir(parents=True)
    (other / "ebro.txt").write_text("The Ebro reaches the sea at Deltebre.\n", encoding="utf-8")
    monkeypatch.chdir(other.parent)
    assert run("index", "docs", "../docs/tagus.md", folder / "tagus.md", "--out", "../ix", "--no-vectors") == 0
    assert "1 documents read, 1 unchanged, 0 gone; the index holds 3 passages." in capsys.readouterr().err
    assert run("index", "--remove", "../docs/./tagus.md", "--list", "--out", "../ix") == 0
    out = capsys.readouterr().out
    assert f"{folder}/douro.txt" in out
    assert "\ndocs/ebro.txt" in out
    assert "tagus.md" not in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "index takes files or folders"),
        (["nowhere"], "nowhere: "),
        (["empty"], "empty: "),
        (["--remove", "nothing"], "ix: no index there"),
        (["--remove", ""], "--remove got an empty name"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    Path("empty").mkdir()
    assert index(run, *arguments) == 2
    assert said in capsys.readouterr().err
    assert not Path("ix").exists()


def test_files_none_of_which_can_be_indexed_are_an_error_that_leaves_what_was_there(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.txt").write_bytes(b"\0")
    Path("empty.txt").touch()
    assert index(run, "bad.txt", "empty.txt") == 2
    err = capsys.readouterr().err
    assert "Left out: bad.txt: a binary file" in err
    assert "rankrag: nothing could be indexed: none of 2 files gave a passage" in err
    assert not Path("ix").exists()
    Path("ix").mkdir()
    (Path("ix") / "notes").touch()
    assert index(run, "bad.txt") == 2
    assert [path.name for path in Path("ix").iterdir()] == ["notes"]
    (Path("ix") / "notes").unlink()
    index(run, "docs")
    assert index(run, "bad.txt") == 2
    assert len(PassageStore.open("ix")) == 2


def test_ctrl_c_leaves_what_was_done_and_says_so(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    index(run, "docs/tagus.md")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rankrag.documents.indexing.load_documents", interrupted)
    assert index(run, "docs") == 130
    assert "Interrupted. 1 passages are safe in ix" in capsys.readouterr().err


def test_help_is_there_at_once_and_imports_nothing_heavy() -> None:
    code = """
import sys
sys.argv = ["rankrag", "--help"]
from rankrag.cli import main
try:
    main()
except SystemExit:
    pass
heavy = {"torch", "transformers", "lancedb", "pydantic"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "rankrag ask" in done.stdout


def test_lost_text_is_said_remembered_and_with_strict_an_error(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "lease.pdf").write_bytes(drawn_pdf("BT /F1 12 Tf 72 720 Td (Lease.) Tj ET", "100 100 200 200 re f"))
    (folder / "old.txt").write_bytes("Die Brücke über die Elbe ist schön und größer.".encode("cp1252"))
    assert index(run, "docs") == 0
    err = capsys.readouterr().err
    assert "Not read: docs/lease.pdf: page 2 has no text, as scans have; run OCR (ocrmypdf)" in err
    assert "Guessed: docs/old.txt: read as cp125" in err
    assert index(run, "docs") == 0
    assert "1 unchanged documents are not in the index whole" in capsys.readouterr().err
    assert run("index", "--list", "--out", "ix") == 0
    out = capsys.readouterr().out
    assert "page 2 has no text" in out
    assert "a guess;" in out
    assert index(run, "docs", "--strict") == 2
    assert "--strict: 1 files cannot be read whole" in capsys.readouterr().err
    assert run("index", "docs", "--strict", "--out", "other", "--no-vectors") == 2
    err = capsys.readouterr().err
    assert "Left out: docs/lease.pdf: page 2 has no text" in err
    assert listed(PassageStore.open("other")) == {"docs/douro.txt": 1, "docs/old.txt": 1, "docs/tagus.md": 1}


def test_ocr_reads_scans_by_the_program_that_is_installed(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = folder / "scan.pdf"
    scan.write_bytes(drawn_pdf("100 100 200 200 re f"))
    monkeypatch.setenv("PATH", str(folder.parent / "bin"))
    assert index(run, scan, "--ocr") == 2
    assert "--ocr needs ocrmypdf or tesseract; install one of them" in capsys.readouterr().err
    (folder.parent / "bin").mkdir()
    (folder.parent / "read.pdf").write_bytes(drawn_pdf("BT /F1 12 Tf 72 720 Td (Read by OCR.) Tj ET"))
    program = folder.parent / "bin" / "ocrmypdf"
    program.write_text(f'#!/bin/sh\nexec /bin/cp "{folder.parent}/read.pdf" "$4"\n', encoding="utf-8")
    program.chmod(0o755)
    assert index(run, scan, "--ocr") == 0
    assert PassageStore.open("ix").passages()[0].text == "Read by OCR."
