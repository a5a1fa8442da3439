"""The registry of bases is whole, and names mean what they say."""

from __future__ import annotations

import json

import pytest

from rankrag.contract import load_contract
from rankrag.errors import ModelError
from rankrag.models import family
from rankrag.models.family import FAMILY, adapter_dir, base_of, bases, is_known, is_trained


@pytest.mark.parametrize("base", bases().values(), ids=bases())
def test_a_base_is_the_sum_of_its_parts_and_each_has_a_hash(base):
    assert sum(part.bytes for part in base.parts) == base.bytes
    assert all(len(part.sha256) == 64 for part in (base, *base.parts))
    assert len({part.requirement for part in base.parts}) == len(base.parts)
    assert all("==" in part.requirement for part in base.parts)
    assert bool(base.repository) == (len(base.revision) == 40)


def test_each_member_has_a_base_of_its_own_larger_than_the_one_before():
    sizes = [base_of(name).parameters for name in FAMILY]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == len(FAMILY)
    assert all(base_of(base_of(name).name) == base_of(name) for name in FAMILY)
    assert is_known("rankrag-small")
    assert is_known("rankrag-small-base")
    assert not is_known("Qwen/Qwen2.5-0.5B")


@pytest.mark.parametrize("name", FAMILY)
def test_each_package_of_this_checkout_has_a_contract_for_its_base(name):
    contract = load_contract(adapter_dir(name))
    assert contract.base_sha256 == base_of(name).sha256
    if is_trained(name):
        adapter = json.loads((adapter_dir(name) / "adapter_config.json").read_text())
        assert adapter["base_model_name_or_path"] == base_of(name).name


def test_a_member_whose_package_is_missing_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(family, "package_dir", lambda _: None)
    with pytest.raises(ModelError, match=r"rankrag-base is not installed.*pip install ./models/rankrag-base"):
        adapter_dir("rankrag-base")
    assert not is_trained("rankrag-base")
