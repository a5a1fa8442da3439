"""Where a Ray cluster is, and what each worker takes of it: `--ray HOST:PORT?workers=4&cpus=8&gpus=1`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from rankrag.errors import ConfigError

OPTIONS = ("workers", "cpus", "gpus")

_CPUS = 4
"""CPUs of a worker without a GPU, or all of a node that has fewer."""


@dataclass(frozen=True, slots=True)
class ClusterAddress:
    """A cluster, with the number of workers and what each one reserves; None where the cluster decides (`fitted`).

    Attributes:
        place: "local" begins a cluster on this machine; "auto" is the one of RAY_ADDRESS or of this machine; or
            HOST:PORT, or ray://HOST:PORT.
        workers: how many of them.
        cpus: CPUs that each reserves, and the number of its threads.
        gpus: GPUs that each reserves; a share of one lets several workers use it.
    """

    place: str
    workers: int | None = None
    cpus: float | None = None
    gpus: float | None = None

    def fitted(self, nodes: Sequence[dict[str, float]], *, gpu: bool = True) -> ClusterAddress:
        """Return the address with all numbers, for nodes with these resources; `ConfigError` if no worker fits.

        By default a worker takes a GPU, if the cluster has any and `gpu` allows it, else four CPUs; and there are as
        many workers as fit.
        """
        any_gpu = gpu and any(node.get("GPU") for node in nodes)
        gpus = self.gpus if self.gpus is not None else float(any_gpu)
        smallest = min((node.get("CPU", 0.0) for node in nodes if node.get("CPU")), default=1.0)
        cpus = self.cpus if self.cpus is not None else 1.0 if gpus else min(_CPUS, smallest)
        most = sum(_places(node, cpus, gpus) for node in nodes)
        if most < (self.workers or 1):
            largest = {kind: max((node.get(kind, 0) for node in nodes), default=0) for kind in ("CPU", "GPU")}
            raise ConfigError(
                f"--ray {self.place}: {most} workers with {cpus:g} CPUs and {gpus:g} GPUs fit on its {len(nodes)} "
                f"nodes, of which the largest has {largest['CPU']:g} and {largest['GPU']:g}; ask for less, as in "
                f"--ray {self.place}?workers=1&cpus=1&gpus=0"
            )
        return ClusterAddress(self.place, self.workers or most, cpus, gpus)


def parse_cluster(text: str) -> ClusterAddress:
    """Return the parts of a cluster's address; `ConfigError` for an unknown or wrong option."""
    place, _, query = text.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(options.keys() - set(OPTIONS)):
        raise ConfigError(f"--ray {text}: {unknown[0]!r} is not known; known are {', '.join(OPTIONS)}")
    numbers = {key: _number(text, key, value) for key, value in options.items()}
    workers = numbers.get("workers")
    if workers is not None and (workers < 1 or workers != int(workers)):
        raise ConfigError(f"--ray {text}: workers={options['workers']}: must be a whole number from 1")
    return ClusterAddress(
        place or "auto", None if workers is None else int(workers), numbers.get("cpus"), numbers.get("gpus")
    )


def _number(text: str, key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ConfigError(f"--ray {text}: {key}={value}: must be a number from 0")
    return number


def _places(node: dict[str, float], cpus: float, gpus: float) -> int:
    """Return how many workers fit on a node."""
    wanted = {"CPU": cpus, "GPU": gpus}
    return int(min((node.get(kind, 0.0) // each for kind, each in wanted.items() if each), default=0.0))
