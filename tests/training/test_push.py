from __future__ import annotations

import json
from pathlib import Path

import pytest

from rankrag.errors import ConfigError, ModelError
from rankrag.training.push import push_run


class FakeHub:
    """A hub that keeps what it is sent."""

    def __init__(self):
        self.repos, self.files, self.messages = {}, {}, []

    def create_repo(self, repo_id, *, private, exist_ok):
        assert exist_ok
        self.repos[repo_id] = private

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        assert repo_id in self.repos
        self.files[repo_id] = sorted(path.name for path in Path(folder_path).iterdir())
        self.messages.append(commit_message)


class ClosedHub:
    def create_repo(self, repo_id, *, private, exist_ok):
        raise ConnectionError("Name or service not known\nand a long trace")


@pytest.fixture
def finished(tmp_path):
    """A run folder with an adapter and the merged model."""
    for name, weights in (("adapter", "adapter_model.safetensors"), ("model", "model.safetensors")):
        (tmp_path / "run" / name).mkdir(parents=True)
        for file in (weights, "README.md", "rankrag_config.json"):
            (tmp_path / "run" / name / file).write_text("{}")
    return tmp_path / "run"


def test_the_model_goes_up_with_its_card_and_contract_and_is_private(finished):
    hub = FakeHub()
    assert push_run(finished, "me/mine", hub=hub) == "https://huggingface.co/me/mine"
    assert hub.files["me/mine"] == ["README.md", "model.safetensors", "rankrag_config.json"]
    assert hub.repos == {"me/mine": True}
    assert hub.messages == ["run, trained with rankrag"]


def test_the_adapter_can_be_chosen(finished):
    hub = FakeHub()
    push_run(finished, "me/mine", adapter=True, private=False, hub=hub)
    assert "adapter_model.safetensors" in hub.files["me/mine"]
    assert hub.repos == {"me/mine": False}


@pytest.mark.parametrize("base", ["rankrag-mini-base", "/models/llama", "runs/one/model", "."])
def test_an_adapter_whose_base_nobody_could_get_is_not_uploaded(finished, base):
    (finished / "adapter/adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    hub = FakeHub()
    with pytest.raises(ConfigError, match=r"which is on no hub.* set merge: true"):
        push_run(finished, "me/mine", adapter=True, hub=hub)
    assert not hub.repos
    push_run(finished, "me/mine", hub=hub)
    (finished / "adapter/adapter_config.json").write_text('{"base_model_name_or_path": "meta-llama/Meta-Llama-3-8B"}')
    push_run(finished, "me/adapter", adapter=True, hub=hub)
    assert list(hub.files) == ["me/mine", "me/adapter"]


def test_a_run_that_is_not_finished_is_not_uploaded(tmp_path):
    with pytest.raises(ConfigError, match="no finished model or adapter in it"):
        push_run(tmp_path, "me/mine", hub=FakeHub())


@pytest.mark.parametrize("name", ["mine", "me/my model", "a/b/c"])
def test_a_name_that_is_none_is_refused(finished, name):
    with pytest.raises(ConfigError, match="must read owner/name"):
        push_run(finished, name, hub=FakeHub())


def test_a_hub_that_cannot_be_reached_is_a_clear_error(finished):
    with pytest.raises(ModelError, match=r"take .*model \(Name or service not known\); it needs a network.*token"):
        push_run(finished, "me/mine", hub=ClosedHub())
