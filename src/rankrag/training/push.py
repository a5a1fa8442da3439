"""Uploading what a run made to the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import HfApi

from rankrag.contract import FILE_NAME
from rankrag.errors import ConfigError, ModelError, first_line
from rankrag.training.start import ADAPTER, ADAPTER_CONFIG, MODEL, adapter_base, may_be_on_hub


def push_run(run: Path, hub_id: str, *, adapter: bool = False, private: bool = True, hub: HfApi | None = None) -> str:
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
    if (found[0] / ADAPTER_CONFIG).is_file() and not may_be_on_hub(base := adapter_base(found[0])):
        raise ConfigError(
            f"{found[0]}: an adapter of {base}, which is on no hub, so nobody could open it; set merge: true, run "
            "`rankrag train` again (it goes on from the last checkpoint), and push the merged model"
        )
    hub = hub or HfApi()
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
