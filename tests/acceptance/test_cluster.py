"""A real Ray cluster of two nodes on this machine: batches give the same bytes as without it, whatever is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
import weakref
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch

from rankrag import cores
from rankrag.cluster.actors import Workers
from rankrag.cluster.address import parse_cluster
from rankrag.data.in_order import in_order
from rankrag.documents.parts import SourcePassages
from rankrag.errors import ConfigError, DataError, ModelError
from rankrag.retrieval.encoder import Encoder
from rankrag.retrieval.store import PassageStore
from rankrag.types import Passage, Source
from tests.acceptance.scripts.cluster_work import begin, begin_on, die_at_three, node_of, refuse

ray = pytest.importorskip("ray", reason='needs Ray: pip install "rankrag[ray]"')
pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
NODES = 2


def patient(get_node):
    """Ray gives a node thirty seconds to begin, which are not enough where others hold the cores."""

    def wait(*arguments, **options):
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            with suppress(RuntimeError):
                return get_node(*arguments, **options)
            time.sleep(0.5)
        return get_node(*arguments, **options)

    return wait


@pytest.fixture(scope="module")
def cluster():
    """The address of two nodes with one CPU each; this process takes one thread too, since sums depend on them."""
    from ray._private import services
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "get_node", patient(services.get_node))
        patch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT}")
        patch.setenv("OMP_NUM_THREADS", "1")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        patch.setattr(cores, "_cores", [])
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        node = {"num_cpus": 1, "object_store_memory": 80 << 20}
        found = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
        for _ in range(NODES - 1):
            found.add_node(**node)
        found.wait_for_nodes(timeout=300)
        yield found.address
        ray.shutdown()
        found.shutdown()
        torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def ended(monkeypatch):
    """End the workers of each test: one that still waits for a place would take that of the next test's."""
    made: list[weakref.ref[Workers]] = []  # no more: those of a command end when nothing holds them
    begin_workers = Workers.__init__

    def begun(self, *arguments, **options):
        made.append(weakref.ref(self))
        begin_workers(self, *arguments, **options)

    monkeypatch.setattr(Workers, "__init__", begun)
    yield
    for workers in filter(None, (ref() for ref in made)):
        workers.close()


@pytest.fixture
def workers(cluster):
    said = []
    found = Workers(parse_cluster(cluster), say=said.append)
    found.said = said
    return found


def test_every_node_works(workers):
    held = workers.hold("pid", begin)
    assert held.size == NODES
    assert len(set(in_order(lambda _: held(node_of), range(8), at_once=NODES))) == NODES


def test_a_worker_that_dies_costs_time_only(workers, tmp_path):
    held = workers.hold("pid", begin)
    done = in_order(partial(held, die_at_three, tmp_path / "dead"), range(12), at_once=NODES)
    assert list(done) == list(range(12))
    begun, died = workers.said
    assert begun == "2 workers begin on the 2 nodes of the cluster."
    assert "A worker died" in died


def test_what_kills_every_worker_is_an_error_of_its_own(workers):
    held = workers.hold("pid", begin)

    def tried(n):
        try:
            return held(die_at_three, None, n)
        except DataError as error:
            return str(error)

    found = list(in_order(tried, range(6), at_once=NODES))
    assert found[:3] + found[4:] == [0, 1, 2, 4, 5]
    assert found[3].startswith("4 workers died over it, one after the other (")


def test_an_error_of_one_piece_of_work_comes_back_as_it_is(workers):
    held = workers.hold("pid", begin)
    for error in (DataError("row 7: too long"), PermissionError(13, "Permission denied")):
        with pytest.raises(type(error), match=re.escape(str(error))):
            held(refuse, error)


def test_a_node_without_the_model_is_named_with_what_to_do(workers):
    node = workers.hold("pid", begin)(node_of)
    with pytest.raises(ModelError) as raised:
        workers.hold("model tiny", partial(begin_on, node))
    said = str(raised.value)
    assert said.startswith("worker on ")
    assert "): model tiny cannot be opened there (tiny: no such folder)" in said
    assert "every node needs the same files at the same place" in said


def test_a_cluster_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(ConfigError, match=r"no cluster can be reached there .*ray start --head"):
        Workers(parse_cluster("127.0.0.1:1"))


# The commands


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("index") / "ix"
    store = PassageStore.create_or_open(path)
    texts = [f"The river {name} reaches the sea at the port of {name}mouth." for name in NAMES]
    passages = [Passage(f"r#{i}", text, "Rivers", Source("r.md", start=0, end=9)) for i, text in enumerate(texts)]
    store.put([SourcePassages("r.md", "0" * 64, tuple(passages))])
    store.refresh()
    return path


NAMES = ["Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Gorse", "Hazel", "Ivy", "Juniper"]


@pytest.fixture
def questions(tmp_path) -> Path:
    path = tmp_path / "questions.jsonl"
    rows = [{"id": f"q{i}", "question": f"Where does the {NAMES[i % 10]} reach the sea, {i}?"} for i in range(24)]
    rows[5]["question"] = "sea " * 2000  # too long for the model
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def without_times(path: Path) -> list[dict]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row.pop("timings", None)
        row.pop("states", None)  # how many passages a worker knew depends on what it was asked before
    return rows


def our_workers() -> list[int]:
    """Return the processes of workers that this test began."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (folder / "cmdline").exists():
            try:
                if (folder / "cmdline").read_bytes().startswith(b"ray::_Actor") and os.getpid() in above(folder.name):
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def above(process: str) -> list[int]:
    found = []
    while process != "0":
        process = (Path("/proc") / process / "stat").read_text().rpartition(")")[2].split()[1]
        found.append(int(process))
    return found


@pytest.fixture
def kill_one_once():
    """Kill a worker as soon as a file has so many lines."""
    killed = []

    def watch(file: Path, lines: int) -> threading.Thread:
        def wait() -> None:
            for _ in range(30_000):
                if file.exists() and file.read_bytes().count(b"\n") >= lines and (found := our_workers()):
                    killed.append(found[0])
                    os.kill(found[0], signal.SIGKILL)
                    return
                time.sleep(0.02)

        thread = threading.Thread(target=wait)
        thread.start()
        return thread

    watch.killed = killed
    return watch


def test_questions_are_answered_as_without_a_cluster_though_a_worker_is_killed(
    run, cluster, index, questions, tiny_model_dir, tmp_path, kill_one_once, capsys
):
    here, there = tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    asked = ("ask", "--questions", questions, "--index", index, "--retriever", "bm25", "--model", tiny_model_dir)
    asked = (*asked, "--dtype", "float32", "--set", "state_cache=off", "--n", "10")
    assert run(*asked, "--out", here) == 0
    watching = kill_one_once(there, 6)
    assert run(*asked, "--out", there, "--set", f"ray={cluster}") == 0
    watching.join()
    assert kill_one_once.killed
    assert "A worker died" in capsys.readouterr().err
    assert without_times(there) == without_times(here)
    assert [row["id"] for row in without_times(there)] == [f"q{i}" for i in range(24)]
    assert "shorten the text" in without_times(there)[5]["error"]
    # a run that ended half way goes on, and its last line may be cut
    there.write_bytes(there.read_bytes()[: there.stat().st_size // 2])
    assert run(*asked, "--out", there, "--set", f"ray={cluster}") == 0
    assert without_times(there) == without_times(here)


def test_a_run_is_reranked_to_the_same_bytes_though_a_worker_is_killed(
    run, cluster, index, questions, tiny_model_dir, tmp_path, kill_one_once, capsys
):
    first, here, there = (tmp_path / name for name in ("first.jsonl", "here.jsonl", "there.jsonl"))
    many = tmp_path / "many.jsonl"
    rows = [json.loads(line) for line in questions.read_text().splitlines()]
    many.write_text("".join(f"{json.dumps(row | {'id': str(n) + row['id']})}\n" for n in range(4) for row in rows))
    assert run("retrieve", "--questions", many, "--index", index, "--retriever", "bm25", "--out", first) == 0
    asked = ("rerank", "--run", first, "--index", index, "--model", tiny_model_dir, "--dtype", "float32")
    asked = (*asked, "--set", "state_cache=off")  # what a worker knows from before would change the rounding
    assert run(*asked, "--out", here) == 2  # the questions that are too long
    watching = kill_one_once(tmp_path / "there.jsonl.journal", 2)
    assert run(*asked, "--out", there, "--ray", cluster) == 2
    watching.join()
    assert kill_one_once.killed
    assert "4 of 96 questions could not be ranked" in capsys.readouterr().err
    assert there.read_bytes() == here.read_bytes()
    assert not (tmp_path / "there.jsonl.journal").exists()


def test_a_command_says_which_worker_lacks_the_model(run, cluster, index, questions, tmp_path, capsys):
    asked = ("ask", "--questions", questions, "--index", index, "--retriever", "bm25", "--model", "no/such-model")
    assert run(*asked, "--set", f"ray={cluster}", "--out", tmp_path / "out.jsonl") == 2
    said = capsys.readouterr().err
    assert "rankrag: worker on " in said
    assert "every node needs the same files" in said
    assert not (tmp_path / "out.jsonl").exists()


def test_an_evaluation_has_the_same_lines(run, cluster, tiny_model_dir, tmp_path):
    own = tmp_path / "own"
    (own / "corpus").mkdir(parents=True)
    for name in NAMES:
        (own / f"corpus/{name}.md").write_text(f"The river {name} reaches the sea at the port of {name}mouth.\n")
    rows = [{"question": f"Where does the {name} reach the sea?", "answers": [f"{name}mouth"]} for name in NAMES]
    (own / "questions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    asked = ("evaluate", "--examples", own, "--retriever", "bm25", "--model", tiny_model_dir, "--dtype", "float32")
    asked = (*asked, "--set", "state_cache=off")
    found = {}
    for place, options in (("here", ()), ("there", ("--ray", cluster))):
        out = tmp_path / place
        assert run(*asked, "--out", out, *options, "--report", out / "report.md") == 0
        files = sorted([*out.rglob("questions.jsonl"), *out.rglob("judgements.jsonl"), *out.rglob("replies.jsonl")])
        assert len(files) > 3
        found[place] = {path.relative_to(out): without_seconds(path) for path in files}
    assert found["there"] == found["here"]


def without_seconds(path: Path) -> list[object]:
    def cut(value: object) -> object:
        if isinstance(value, dict):
            return {name: cut(inner) for name, inner in value.items() if "seconds" not in name}
        return [cut(inner) for inner in value] if isinstance(value, list) else value

    return [cut(json.loads(line)) for line in path.read_text().splitlines()]


def test_an_index_has_the_same_passages_and_vectors(run, cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    for name in NAMES:
        (tmp_path / f"docs/{name}.md").write_text(f"# {name}\n\nThe river {name} reaches the sea at {name}mouth.\n")
    (tmp_path / "docs/broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    found = {}
    for place, options in (("here", ()), ("there", ("--ray", cluster))):
        assert run("index", "docs", "--out", place, *options) == 0
        assert "Left out: docs/broken.pdf" in capsys.readouterr().err
        store, encoder = PassageStore.open(place), Encoder()
        passages = store.passages()
        vectors = store.vectors_of(encoder, passages)
        assert len(vectors) == len(NAMES)
        found[place] = passages, {text: vector.tobytes() for text, vector in vectors.items()}
    assert found["there"] == found["here"]


def test_questions_are_written_with_the_same_words(run, cluster, index, tiny_model_dir, tmp_path):
    asked = ("blend", "--from-index", index, "--model", tiny_model_dir, "--dtype", "float32")
    asked = (*asked, "--set", "writing.min_words=5", "--set", "writing.retriever=bm25")
    assert run(*asked, "--out", tmp_path / "here") == 2  # a random model writes nothing that can be used
    assert run(*asked, "--out", tmp_path / "there", "--ray", cluster) == 2
    here, there = ((tmp_path / place / "own.journal.jsonl").read_bytes() for place in ("here", "there"))
    assert here.count(b"\n") == len(NAMES)
    assert there == here
