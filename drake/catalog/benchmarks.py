"""The benchmarks that `drake eval --benchmark` knows: clients, tasks and metrics of each, and the settings it begins
with. Used through `drake.catalog`; the data are in benchmarks.toml and scenarios.toml."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from drake.catalog.tasks import clients as scenario_clients
from drake.catalog.tasks import read_toml
from drake.catalog.tasks import task as catalog_task
from drake.errors import UnknownName

DEFAULT = "drake"


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    stand_in: the source, procedural and part of this package, that a run without `--data` uses. build: what
    `drake build --source` takes for the real data. clients: the tasks of each client in order of arrival. metrics:
    the metric of every task. facts: what is known of the original; choices: what is not, and what was chosen. settings:
    configuration tables by preset, "all" for every one.
    """

    name: str
    title: str
    stand_in: str
    build: tuple[str, ...]
    clients: tuple[tuple[str, ...], ...]
    metrics: Mapping[str, str]
    facts: tuple[str, ...]
    choices: tuple[str, ...]
    settings: Mapping[str, Mapping[str, Any]]

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks, client by client."""
        return tuple(self.metrics)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The different metrics of the tasks, sorted."""
        return tuple(sorted(set(self.metrics.values())))

    @property
    def tasks_per_source(self) -> Mapping[str, int]:
        """The number of tasks of each source data set."""
        return Counter(source_of(task) for task in self.tasks)

    @property
    def scenario(self) -> str | None:
        """The name under which `assign` finds the official assignment of backbones; None where none is known."""
        return self.name if self.name in read_toml("scenarios.toml") else None


def source_of(task: str) -> str:
    """The source data set of a task id: "STS-B" for "STS-B-0"."""
    return task.rpartition("-")[0]


@cache
def _all_benchmarks() -> dict[str, Benchmark]:
    found: dict[str, Benchmark] = {}
    for name, fields in read_toml("benchmarks.toml").items():
        clients = tuple(map(tuple, fields["clients"])) if "clients" in fields else scenario_clients(name)
        own: Mapping[str, str] = fields.get("metrics", {})
        usual: str | None = fields.get("metric")
        metrics = {
            task: own.get(task) or usual or catalog_task(task).metric for of_client in clients for task in of_client
        }
        found[name] = Benchmark(
            name=name,
            title=fields["title"],
            stand_in=fields["stand_in"],
            build=tuple(fields["build"]),
            clients=clients,
            metrics=metrics,
            facts=tuple(fields["facts"]),
            choices=tuple(fields["choices"]),
            settings=fields.get("settings", {}),
        )
    return found


def benchmarks() -> dict[str, Benchmark]:
    """The benchmarks by name, DRAKE first."""
    return dict(_all_benchmarks())


def benchmark(name: str) -> Benchmark:
    """The benchmark of that name; UnknownName, with the nearest name, if there is none."""
    known = _all_benchmarks()
    if name not in known:
        raise UnknownName("benchmark", name, list(known))
    return known[name]
