from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from rankrag.blend.prepare import config_problems, data_problems
from rankrag.blend.sources import QuestionSet, Record
from rankrag.config.blend import BlendConfig
from rankrag.config.schema import load_config
from rankrag.data.catalogue import BENCHMARKS
from rankrag.types import DataKind, Passage, Question

SHIPPED = sorted((Path(__file__).parents[2] / "configs" / "blend").glob("*.yaml"))
A, B = {"name": "alpha", "rows": "a"}, {"name": "beta", "rows": "b", "kinds": ["context_qa"]}


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_the_paper_s_blends_are_compared_with_the_paper_s_evaluation_sets(stage):
    named = {of.rows for of in load_config(BlendConfig, SHIPPED[0].with_name(f"{stage}.yaml")).evaluation}
    for name, benchmark in BENCHMARKS.items():
        if benchmark.paper:
            assert named & {f"hub/{name}.jsonl.zst", benchmark.rows, benchmark.companion}, name


@pytest.mark.parametrize(
    ("name", "others"), [("stage1", ["stage2"]), ("mini-stage2", ["mini-stage1", "mini-by-question"])]
)
def test_blends_of_the_same_data_are_compared_with_the_same_evaluation_sets(name, others, monkeypatch):
    monkeypatch.setenv("RANKRAG_DATA", "/data")
    first, *rest = (load_config(BlendConfig, SHIPPED[0].with_name(f"{of}.yaml")).evaluation for of in (name, *others))
    assert all(of == first for of in rest)


def problems(sources=(A, B), **fields):
    return config_problems(BlendConfig.model_validate({"data": ".", "sources": list(sources)} | fields))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_every_shipped_configuration_is_sound(path, monkeypatch):
    monkeypatch.setenv("RANKRAG_DATA", "/data")
    assert config_problems(load_config(BlendConfig, path)) == []


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"sources": []}, "'sources' is empty"),
        ({"sources": [A, A]}, "source 'alpha' stands 2 times"),
        ({"sources": [A | {"name": "a/b"}]}, "a name may not hold '/'"),
        ({"sources": [{"name": "alpha"}]}, "name either 'rows' or a 'hub'"),
        ({"sources": [A | {"hub": {"name": "h"}}]}, "name either 'rows' or a 'hub'"),
        ({"sources": [A | {"kinds": ["sft", "context_qa"]}]}, "'sft' stands alone"),
        ({"sources": [A | {"chunk_words": 150, "irrelevant_below": 0.6}]}, "irrelevant_below 0.6 is above"),
        (
            {"examples": 9, "weights": {"alfa": 1, "alpha": 1, "beta": 1}},
            "'alfa' names no source; did you mean 'alpha'",
        ),
        ({"counts": {"alpha": 1, "beta/context_ranking": 1}}, "the source makes no 'context_ranking', only context_qa"),
        ({"examples": 9, "weights": {"alpha": -1, "beta": 1}}, "'alpha' is -1.0; it must be 0 or more"),
        ({"examples": 9, "weights": {"alpha": float("nan"), "beta": 1}}, "'alpha' is nan"),
        ({"examples": 9, "weights": {"alpha": 0, "beta": 0}}, "weights: all are 0"),
        ({"examples": 9, "weights": {"alpha": 1}}, "source 'beta' has no weight"),
        ({"weights": {"alpha": 1, "beta": 1}}, "weights share out 'examples', which is not set"),
        ({"examples": 9}, "'examples' is shared out by 'weights'"),
        (
            {"examples": 9, "weights": {"alpha": 1, "beta": 1, "alpha/context_qa": 1}},
            "alpha/context_qa is given 2 times",
        ),
        ({"examples": 9, "weights": {"alpha": 1}, "counts": {"beta": 10}}, "counts sum to 10, more than the 9"),
    ],
)
def test_each_mistake_is_named(fields, problem):
    assert [found for found in problems(**fields) if problem in found]


def test_a_sound_configuration_has_no_problem():
    assert problems(examples=9, weights={"alpha/context_qa": 1, "alpha/retrieval_qa": 1, "beta": 1}) == []


def source_of(records, passages=()):
    return QuestionSet("s", tuple(records), {i: Passage(i, i) for i in passages}, Counter({"no reply to learn": 3}))


@pytest.mark.parametrize(
    ("source", "kind", "problem"),
    [
        (source_of([]), DataKind.SFT, "no rows are left (3 no reply to learn)"),
        (source_of([Record(Question("q", "?"), ())]), DataKind.CONTEXT_RANKING, "nothing to rank"),
        (source_of([Record(Question("q", "?"), ())], "ab"), DataKind.CONTEXT_QA, "no row has a gold passage"),
        (source_of([Record(Question("q", "?"), ("a",))], "abcde"), DataKind.RETRIEVAL_QA, "lists of 5 passages"),
        (
            source_of([Record(Question("q", "?", answers=("x",)), ("a",))], "ab"),
            DataKind.RETRIEVAL_RANKING,
            "found: 2 passages",
        ),
    ],
)
def test_data_that_gives_nothing_is_named(source, kind, problem):
    (found,) = data_problems(source, [kind], 5)
    assert problem in found
