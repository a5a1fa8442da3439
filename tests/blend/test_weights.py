from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankrag.blend.weights import blend_slots, shared_out
from rankrag.config.blend import BlendConfig
from rankrag.config.schema import load_config
from rankrag.types import DataKind

CONFIGS = Path(__file__).parents[2] / "configs" / "blend"


def config_of(**fields):
    sources = [{"name": "a", "rows": "a"}, {"name": "b", "rows": "b"}, {"name": "c", "rows": "c", "kinds": ["sft"]}]
    return BlendConfig.model_validate({"data": ".", "sources": sources} | fields)


def numbers(slots):
    return {slot.key: slot.examples for slot in slots}


@given(
    st.dictionaries(st.text(min_size=1, max_size=3), st.floats(0.001, 1000), min_size=1, max_size=9),
    st.integers(0, 10**6),
)
def test_shares_sum_to_the_total_and_each_is_within_one_of_its_exact_share(weights, total):
    shared = shared_out(weights, total)
    assert sum(shared.values()) == total
    for key, number in shared.items():
        assert abs(number - total * weights[key] / sum(weights.values())) < 1 + 1e-6


def test_stage_two_has_the_paper_s_weights_and_draws_what_its_steps_consume():
    config = load_config(BlendConfig, CONFIGS / "stage2.yaml")
    assert sum(config.weights.values()) == pytest.approx(1.331)
    assert config.examples == 3300 * 64
    shared = shared_out(config.weights, config.examples)
    assert shared["msmarco"] + shared["convqa-ranking"] == pytest.approx(28_600, abs=50)


def test_without_weights_every_source_gives_all_it_has():
    assert numbers(blend_slots(config_of())) == {"a": None, "b": None, "c": None}


def test_a_key_is_a_source_with_all_its_kinds_or_one_of_them():
    config = config_of(examples=10, weights={"a/context_qa": 1, "b": 3, "c": 1})
    slots = {slot.key: slot for slot in blend_slots(config)}
    assert numbers(slots.values()) == {"a/context_qa": 2, "b": 6, "c": 2}
    assert slots["a/context_qa"].kinds == {DataKind.CONTEXT_QA}
    assert len(slots["b"].kinds) == 4


def test_counts_come_first_and_the_weights_share_the_rest():
    config = config_of(examples=100, weights={"a": 1, "c": 3}, counts={"b": 60})
    assert numbers(blend_slots(config)) == {"a": 10, "b": 60, "c": 30}


def test_counts_stand_alone_without_weights():
    assert numbers(blend_slots(config_of(counts={"a": 5, "b": 7, "c": 0}))) == {"a": 5, "b": 7}


def test_the_weight_of_an_absent_source_goes_to_the_others():
    config = config_of(examples=100, weights={"a": 1, "b": 2, "c": 1})
    assert numbers(blend_slots(config, frozenset({"b"}))) == {"a": 50, "c": 50}


def test_a_weight_of_nothing_leaves_a_part_out():
    config = config_of(examples=10, weights={"a": 1, "b": 0, "c": 0})
    assert numbers(blend_slots(config)) == {"a": 10}
