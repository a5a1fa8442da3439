"""A member of the family is prepared once, whole or not at all, and made again when it is damaged."""

from __future__ import annotations

import errno
import json
import multiprocessing
import resource
import threading
import time
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from rankrag.errors import ContractError, ModelError
from rankrag.models import family, loading, memory_size, prepared
from rankrag.models.family import base_of
from rankrag.models.prepared import made_anew, prepare_model, prepared_dir, remove_model, resolve_model, used_disk

BASE = "rankrag-mini-base"


def write(path):
    path.write_bytes(b"weights")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RANKRAG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(prepared, "base_file", lambda *_: tmp_path / "base.gguf")
    monkeypatch.setattr(
        prepared, "_merge", lambda gguf, adapter, out: (out / "model.safetensors").write_bytes(b"weights")
    )
    monkeypatch.setattr(prepared.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**10))
    return tmp_path / "cache"


def folders(cache):
    return [p for p in cache.iterdir() if p.is_dir()]


def test_the_base_is_prepared_once(cache, monkeypatch):
    target = prepare_model(BASE)
    monkeypatch.setattr(prepared, "_merge", None)
    assert prepare_model(BASE) == target


def test_a_damaged_directory_is_made_again(cache):
    weights = prepare_model(BASE) / "model.safetensors"
    weights.write_bytes(b"wei")
    prepare_model(BASE)
    assert weights.read_bytes() == b"weights"


def test_a_prepared_model_that_cannot_be_loaded_is_made_again_if_it_is_damaged(cache, monkeypatch):
    target = prepare_model(BASE)
    weights = target / "model.safetensors"
    weights.write_bytes(b"WEIGHTS")
    read = []

    def load(name, dtype):
        read.append(weights.read_bytes())
        if read[-1] != b"weights":
            raise ModelError("broken")

    monkeypatch.setattr(loading, "_loaded", load)
    loading.load_weights(str(target), None)
    assert read == [b"WEIGHTS", b"weights"]
    monkeypatch.setattr(prepared, "_merge", None)
    assert not made_anew(target)
    assert not made_anew(target.parent.parent)


def test_two_at_once_prepare_it_once_and_the_second_says_that_it_waits(cache, monkeypatch):
    made, said = [], []

    def slow(gguf, adapter, out):
        made.append(out)
        time.sleep(0.3)
        (out / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(prepared, "_merge", slow)
    both = [threading.Thread(target=prepare_model, args=(BASE, said.append)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(made) == 1
    assert [line for line in said if "waiting" in line] == [f"Another process prepares {BASE}; waiting for it …"]


def test_two_processes_at_once_prepare_it_once(cache, monkeypatch):
    def slow(gguf, adapter, out):
        with (cache / "made").open("a") as file:
            file.write("once ")
        time.sleep(0.3)
        (out / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(prepared, "_merge", slow)
    context = multiprocessing.get_context("fork")  # which keeps what is patched here
    both = [context.Process(target=prepare_model, args=(BASE,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(30)
    assert [process.exitcode for process in both] == [0, 0]
    assert (cache / "made").read_text() == "once "
    assert [path.name for path in folders(cache)] == [prepared_dir(BASE).name]


def test_a_process_that_is_killed_while_it_prepares_is_made_up_for_by_the_next(cache, monkeypatch):
    started = multiprocessing.get_context("fork").Event()

    def endless(gguf, adapter, out):
        (out / "model.safetensors").write_bytes(b"half")
        started.set()
        time.sleep(60)

    with monkeypatch.context() as patched:
        patched.setattr(prepared, "_merge", endless)
        process = multiprocessing.get_context("fork").Process(target=prepare_model, args=(BASE,))
        process.start()
        assert started.wait(30)
        process.kill()
        process.join(30)
    assert (prepare_model(BASE) / "model.safetensors").read_bytes() == b"weights"
    assert folders(cache) == [prepared_dir(BASE)]


def test_too_little_space_is_told_before_any_work(cache, monkeypatch):
    monkeypatch.setattr(prepared.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    with pytest.raises(ModelError, match=r"1 MB free.*RANKRAG_CACHE"):
        prepare_model(BASE)
    assert folders(cache) == []


def test_a_machine_with_two_gib_is_told_before_any_download(cache, monkeypatch):
    monkeypatch.setattr(memory_size, "total_bytes", lambda: 2 * 2**30)
    monkeypatch.setattr(prepared, "base_file", None)
    with pytest.raises(
        ModelError, match=r"rankrag-small needs 2\.\d GiB of memory, this machine has 2\.0; .*rankrag-mini"
    ):
        prepare_model("rankrag-small")
    assert memory_size.needed_bytes(base_of("rankrag-mini").parameters) < 2 * 2**30


def test_a_disk_that_fills_up_leaves_no_half_directory(cache, monkeypatch):
    def full(gguf, adapter, out):
        (out / "half").write_bytes(b"x")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(prepared, "_merge", full)
    with pytest.raises(ModelError, match="No space left on device"):
        prepare_model(BASE)
    assert folders(cache) == []


def test_weights_that_the_disk_does_not_take_are_told_alike(cache, monkeypatch):
    def merge(gguf, adapter, out):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))  # as a full disk: the write itself fails
        try:
            save_file({"weight": torch.zeros(10_000)}, out / "model.safetensors")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    monkeypatch.setattr(prepared, "_merge", merge)
    with pytest.raises(ModelError, match=r"cannot prepare rankrag-mini-base there .*RANKRAG_CACHE"):
        prepare_model(BASE)
    assert folders(cache) == []


def test_a_missing_file_of_the_adapter_is_named(cache, tmp_path, monkeypatch):
    (tmp_path / "adapter").mkdir()
    monkeypatch.setattr(family, "package_dir", lambda _: tmp_path / "adapter")
    with pytest.raises(ModelError, match=r"adapter_model.safetensors is missing; .*pip install ./models/rankrag-mini"):
        prepare_model("rankrag-mini")
    with pytest.raises(ModelError, match=r"rankrag_config.json is missing; .*pip install ./models/rankrag-small"):
        prepare_model("rankrag-small")


def test_a_new_adapter_is_a_new_directory(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "adapter_dir", lambda _: tmp_path)
    (tmp_path / "rankrag_config.json").write_text("{}")
    before = prepared_dir("rankrag-small")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"adapter")
    assert prepared_dir("rankrag-small") != before


def test_removing_a_model_deletes_its_directories_its_file_and_nothing_else(cache):
    small, base = prepare_model("rankrag-small"), prepare_model("rankrag-small-base")
    other = prepare_model("rankrag-mini-base")
    file = cache / base_of("rankrag-small").file
    file.write_bytes(b"gguf")
    (cache / "rankrag-small-notes").mkdir()
    held = used_disk("rankrag-small")
    assert held > len(b"weights") * 2 + 4
    assert remove_model("rankrag-small") == held
    assert not any(path.exists() for path in (small, base, file))
    assert other.is_dir()
    assert (cache / "rankrag-small-notes").is_dir()
    assert remove_model("rankrag-small") == 0


def test_a_base_of_ours_has_the_hash_of_its_file_by_name_and_by_directory(cache, tmp_path):
    sha256 = base_of(BASE).sha256
    assert loading.base_sha256(BASE, "anywhere") == sha256
    assert loading.base_sha256(str(prepare_model(BASE)), str(prepare_model(BASE))) == sha256
    assert loading.base_sha256("rankrag-mini", str(tmp_path)) == ""
    assert loading.base_sha256("someone/model", "someone/model") == ""


def test_an_adapter_on_another_quantisation_of_its_base_is_refused_by_the_hash(cache, tmp_path):
    (tmp_path / "rankrag_config.json").write_text(
        json.dumps({"version": 1, "base_sha256": base_of("rankrag-small").sha256})
    )
    loading.check_base(tmp_path, "rankrag-small-base", "anywhere")
    with pytest.raises(ContractError, match=r"has weights b179c952.*the adapter was trained on 1d961463"):
        loading.check_base(tmp_path, BASE, str(prepare_model(BASE)))
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_bytes(b"another quantisation")
    with pytest.raises(ContractError, match="was trained on 1d961463"):
        loading.check_base(tmp_path, str(other), str(other))


def test_other_names_are_left_alone():
    assert resolve_model("some/model") == "some/model"
