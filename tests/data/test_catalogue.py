from __future__ import annotations

import pytest

from rankrag.config.evaluation import SetConfig
from rankrag.data.catalogue import BENCHMARKS, PAPER, own_set
from rankrag.errors import ConfigError


def test_every_set_has_its_own_name_and_says_where_its_data_comes_from():
    assert len(BENCHMARKS) == 32
    assert all(name == benchmark.name for name, benchmark in BENCHMARKS.items())
    assert all(benchmark.hub or benchmark.source for benchmark in BENCHMARKS.values())
    assert all(benchmark.split for benchmark in BENCHMARKS.values())


def test_a_set_of_the_paper_takes_split_and_corpus_from_its_entry_unless_the_paper_differs():
    paper = {benchmark.name: benchmark.paper for benchmark in PAPER}
    assert paper["nq-kilt"].split == "KILT dev"
    assert paper["nq-kilt"].corpus == BENCHMARKS["nq-kilt"].corpus
    assert paper["topiocqa-chatrag"].corpus == "whole Wikipedia, the set's own passages"


def test_a_set_of_a_configuration_may_not_take_a_known_name():
    assert own_set(SetConfig(name="mine", rows="rows.jsonl")).source == "a file of one's own"
    with pytest.raises(ConfigError, match="squad: the name of a known set"):
        own_set(SetConfig(name="squad", rows="rows.jsonl"))
