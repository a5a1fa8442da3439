"""Every data set by name, read from `sets.yaml`, and sets that a configuration declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import yaml
from pydantic import TypeAdapter

from rankrag.config.evaluation import SetConfig
from rankrag.data.sets import Benchmark
from rankrag.errors import ConfigError

OWN_FILE = "a file of one's own"


def own_set(config: SetConfig) -> Benchmark:
    """Return a set that a configuration declares; `ConfigError` if its name is taken."""
    if config.name in BENCHMARKS:
        raise ConfigError(f"sets: {config.name}: the name of a known set; give yours another")
    return Benchmark(
        config.name,
        config.name,
        config.rows,
        config.corpora,
        config.metric,
        style=config.style,
        split="all",
        schema=config.form,
        companion=config.companion,
        subset=config.subset,
        source=OWN_FILE,
        corpus=", ".join(config.corpora) or "those that come with each question",
        answer_metrics=config.answer_metrics if config.style else (),
    )


def _declared(row: dict[str, Any]) -> Benchmark:
    """Return a set of the file with the defaults that its first lines name."""
    defaults = {} if "hub" in row else {"source": f"{OWN_FILE}, {row['rows']}"}
    paper = {"split": row["split"], "corpus": row["corpus"], **row["paper"]} if "paper" in row else None
    return _BENCHMARK.validate_python(defaults | row | {"paper": paper})


_BENCHMARK = TypeAdapter(Benchmark)
_FILE = yaml.safe_load(resources.files("rankrag.data").joinpath("sets.yaml").read_text(encoding="utf-8"))

PAPER: tuple[Benchmark, ...] = tuple(map(_declared, _FILE["paper"]))
"""The fourteen sets of the paper, in the order of its tables 2 and 5."""

CORPUS_SIZES: Mapping[str, int] = _FILE["corpus_sizes"]
"""Passages of a corpus that is one file of known length."""

KNOWN_DEFECTS: Mapping[str, Sequence[str]] = _FILE["known_defects"]
"""What a public release is known to lack, by its reader, for the manifest of a blend."""

BENCHMARKS: Mapping[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (*map(_declared, _FILE["own"]), *PAPER, *map(_declared, _FILE["other_splits"]))
}
"""Every set, by name."""
