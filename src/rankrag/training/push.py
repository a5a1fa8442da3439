"""Uploading what a run made to the Hugging Face hub."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Protocol

from rankrag.contract import FILE_NAME
from rankrag.errors import ConfigError, ModelError, first_line
from rankrag.training.start import ADAPTER, MODEL, may_be_on_hub


class Hub(Protocol):
    """The two calls of `huggingface_hub.HfApi` that an upload needs."""

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> Any:
        """Make the repository where there is none."""
        ...

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> Any:
        """Upload all files of a folder as one commit."""
        ...


def push_run(run: Path, hub_id: str, *, adapter: bool = False, private: bool = True, hub: Hub | None = None) -> str:
    """Upload the model of a run folder, or its adapter; return the address.

    `ConfigError` if the folder holds no finished model, or an adapter whose base nobody could get, or for a wrong name;
    `ModelError` if the hub refuses.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", hub_id):
        raise ConfigError(f"{hub_id}: must read owner/name")
    wanted = (ADAPTER,) if adapter else (MODEL, ADAPTER)
    found = [run / name for name in wanted if (run / name / FILE_NAME).is_file()]
    if not found:
        raise ConfigError(f"{run}: no finished {' or '.join(wanted)} in it; end the run with `rankrag train`")
    described = found[0] / "adapter_config.json"
    if described.is_file():
        base = json.loads(described.read_text(encoding="utf-8"))["base_model_name_or_path"]
        if not may_be_on_hub(base):
            raise ConfigError(
                f"{found[0]}: an adapter of {base}, which is on no hub, so nobody could open it; set merge: true, run "
                "`rankrag train` again (it goes on from the last checkpoint), and push the merged model"
            )
    if hub is None:
        from huggingface_hub import HfApi

        hub = HfApi()
    try:
        hub.create_repo(hub_id, private=private, exist_ok=True)
        hub.upload_folder(repo_id=hub_id, folder_path=str(found[0]), commit_message=f"{run.name}, trained with rankrag")
    except Exception as error:  # the client raises what its transport raises: no network, no token, no right
        reason = first_line(error)[:200]
        raise ModelError(
            f"{hub_id}: the hub did not take {found[0]} ({reason}); it needs a network connection, and a token that "
            "may write there: run `hf auth login`"
        ) from error
    return f"https://huggingface.co/{hub_id}"
