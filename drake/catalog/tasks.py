"""Tasks, the clients they belong to, and the unseen tasks, which no client has. Used through `drake.catalog`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from drake.catalog.licences import Commercial
from drake.errors import UnknownName


@dataclass(frozen=True)
class Task:
    """One task of the benchmark and what is known about its source; None means unknown or not applicable.

    group: "drake" (40), "unseen-newtasktype" (4), "unseen-newvisualdomain" (3) or "hflb" (36).
    source, source_full: the source data set's id and its full name. category: one of DRAKE's three, or None.
    type: "multi-choice" or "open-ended". metric: "accuracy" or "token-F1".
    n_images: pictures per record; None if it varies, as `images_note` then describes.
    client, client_position: its client and its place in the order of arrival, from 0; for unseen tasks, numbers in the
    list of these.
    measures: what the source tests, to complete the sentence "It measures ...".
    licence, restrictions: the licence that was found, and what it forbids, in plain words. commercial: whether it
    allows commercial use of texts and pictures; "unknown" where that is not stated for both.
    conflict: contradictions in the released material.
    train_size_reported, test_size_reported: as reported for the release, therefore text ("<=10000", "80%").
    """

    id: str
    source: str
    group: str
    description: str
    type: str
    metric: str
    answer_format: str
    prompt_shape: str
    client: int
    client_position: int
    source_full: str
    measures: str
    homepage: str
    licence: str
    citation: str
    paper: str
    year: int
    restrictions: tuple[str, ...] = ()
    commercial: Commercial = "unknown"
    category: str | None = None
    n_images: int | None = None
    images_note: str | None = None
    hf_id: str | None = None
    where: str | None = None
    raw_format: str | None = None
    train_size_reported: str | None = None
    test_size_reported: str | None = None
    note: str | None = None
    conflict: str | None = None


@cache
def read_toml(name: str) -> dict[str, Any]:
    """The parsed TOML file of that name beside this module; cached, so callers must not modify it."""
    return tomllib.loads((files("drake.catalog") / name).read_text(encoding="utf-8"))


def _joined(*parts: str | None) -> str | None:
    return "; ".join(part for part in parts if part) or None


@cache
def _all_tasks() -> dict[str, Task]:
    data = read_toml("tasks.toml")
    found: dict[str, Task] = {}
    for row in data["task"]:
        source = data["source"][row["source"]]
        fields = source | row
        fields["restrictions"] = tuple(source.get("restrictions", ()))
        for key in ("note", "conflict"):  # both a source and its task may have one
            fields[key] = _joined(source.get(key), row.get(key))
        found[row["id"]] = Task(**fields)
    return found


def tasks(group: str | None = None) -> dict[str, Task]:
    """Tasks by id, in catalog order: all 83, those of one group, or with "unseen" those of both unseen groups.

    Raises UnknownName for a group that does not exist.
    """
    everything = _all_tasks()
    if group is None:
        return dict(everything)
    groups = {found.group for found in everything.values()}
    wanted = {name for name in groups if name == group or (group == "unseen" and name.startswith("unseen-"))}
    if not wanted:
        raise UnknownName("task group", group, sorted({*groups, "unseen"}))
    return {name: found for name, found in everything.items() if found.group in wanted}


def task(id: str) -> Task:
    """The task with that id; raises UnknownName, with the nearest id, if there is none."""
    everything = _all_tasks()
    if id not in everything:
        raise UnknownName("task", id, list(everything))
    return everything[id]


def federation(benchmark: str) -> dict[str, Any]:
    """The `clients` and `assignments` of a benchmark, as in scenarios.toml; raises UnknownName for another name."""
    scenarios = {name: part for name, part in read_toml("scenarios.toml").items() if "clients" in part}
    if benchmark not in scenarios:
        raise UnknownName("benchmark", benchmark, list(scenarios))
    return scenarios[benchmark]


def clients(benchmark: str = "drake") -> tuple[tuple[str, ...], ...]:
    """Task ids per client in order of arrival: 10 clients of 4 for "drake", 9 of 4 for "hflb"."""
    return tuple(tuple(row) for row in federation(benchmark)["clients"])


def unseen() -> dict[str, tuple[str, ...]]:
    """The ids of the tasks that no client trains on: "new-task-type" (4) and "new-visual-domain" (3)."""
    return {kind: tuple(ids) for kind, ids in read_toml("scenarios.toml")["unseen"].items()}
