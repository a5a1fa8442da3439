"""The hash of the weights that an adapter was trained on: on others it is noise that still gives scores."""

from __future__ import annotations

from pathlib import Path

from rankrag.contract import load_contract
from rankrag.data.files import sha256
from rankrag.errors import ContractError
from rankrag.models.mini import BASE_SHA256, MINI, MINI_BASE


def base_sha256(name: str, resolved: str) -> str:
    """Return the hash of a base by the name a user gave it and by what that stands for; empty where none can be had.

    Of a directory it is that of its files of weights in the order of their names, so other shards have another one.
    rankrag-mini-base has its download's. A model on the hub has none, nor has rankrag-mini, merged on each machine.
    """
    if name == MINI_BASE:
        return BASE_SHA256
    directory = Path(resolved)
    if name == MINI or not directory.is_dir():
        return ""
    weights = sorted(directory.glob("*.safetensors")) or sorted(directory.glob("pytorch_model*.bin"))
    return sha256(*weights) if weights else ""


def check_base(adapter: Path, name: str, resolved: str) -> None:
    """Raise `ContractError` where the adapter's contract names other weights than its base has."""
    contract = load_contract(adapter)
    if contract is None or not contract.base_sha256:
        return
    found = base_sha256(name, resolved)
    if found not in ("", contract.base_sha256):
        raise ContractError(
            f"{adapter}: its base {resolved} has weights {found[:16]}…, the adapter was trained on "
            f"{contract.base_sha256[:16]}…; name that base in adapter_config.json, or train the adapter again"
        )
