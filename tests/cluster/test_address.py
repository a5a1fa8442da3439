from __future__ import annotations

import os

import pytest

from rankrag.cluster.address import ClusterAddress, parse_cluster
from rankrag.cluster.places import same_anywhere
from rankrag.errors import ConfigError

CPUS, GPUS = {"CPU": 16.0, "memory": 1e9}, {"CPU": 32.0, "GPU": 4.0}


def test_an_address_has_a_place_and_options():
    assert parse_cluster("auto") == ClusterAddress("auto")
    assert parse_cluster("ray://head:10001?workers=3&cpus=0.5&gpus=0") == ClusterAddress("ray://head:10001", 3, 0.5, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("auto?worker=3", "'worker' is not known; known are workers, cpus, gpus"),
        ("auto?workers=0", "workers=0: must be a whole number from 1"),
        ("auto?workers=1.5", "workers=1.5: must be a whole number from 1"),
        ("auto?cpus=many", "cpus=many: must be a number from 0"),
        ("auto?gpus=inf", "gpus=inf: must be a number from 0"),
    ],
)
def test_a_wrong_option_is_named(text, said):
    with pytest.raises(ConfigError, match=said):
        parse_cluster(text)


@pytest.mark.parametrize(
    ("text", "nodes", "gpu", "workers", "cpus", "gpus"),
    [
        ("auto", [CPUS, CPUS], True, 8, 4, 0),
        ("auto", [{"CPU": 2.0}, CPUS], True, 9, 2, 0),  # what the smallest node has fits everywhere
        ("auto", [GPUS, CPUS], True, 4, 1, 1),
        ("auto", [GPUS, CPUS], False, 12, 4, 0),
        ("auto?gpus=0.5", [GPUS], True, 8, 1, 0.5),
        ("auto?workers=2&cpus=16", [CPUS, CPUS, CPUS], True, 2, 16, 0),
        ("auto", [CPUS, {"memory": 1.0}], True, 4, 4, 0),  # a head without CPUs takes none
    ],
)
def test_workers_are_as_many_as_fit(text, nodes, gpu, workers, cpus, gpus):
    found = parse_cluster(text).fitted(nodes, gpu=gpu)
    assert (found.workers, found.cpus, found.gpus) == (workers, cpus, gpus)


def test_what_does_not_fit_is_an_error_that_says_what_would():
    with pytest.raises(
        ConfigError, match=r"0 workers with 1 CPUs and 2 GPUs fit on its 1 nodes.* 16 and 0; ask for le"
    ):
        parse_cluster("auto?gpus=2").fitted([CPUS])
    with pytest.raises(ConfigError, match="2 workers with 8 CPUs"):
        parse_cluster("auto?workers=3&cpus=8").fitted([CPUS])


def test_a_name_means_the_same_in_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    assert same_anywhere("model") == os.path.join(tmp_path, "model")
    assert same_anywhere("http://host/v1#model") == f"http://host/v1#{tmp_path}/model"
    for name in ("rankrag-mini", "postgresql://host/db/ix", "memory", "http://host/v1?model=a"):
        assert same_anywhere(name) == name
