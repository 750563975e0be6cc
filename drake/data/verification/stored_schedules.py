"""The checks of a stored schedule: do its rows name clients, rounds, tasks and records that there are?"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from drake.data.checks import Faults
from drake.data.manifest import SCHEDULES, Manifest
from drake.data.verification.digests import Digests, Index, digest
from drake.data.verification.reading import schedule_batches
from drake.errors import DrakeError

Integers = npt.NDArray[np.int64]


def check_schedule(
    folder: Path, manifest: Manifest, name: str, index: Index, unread: Collection[str], faults: Faults
) -> None:
    """Count the faults of the schedule `name`. index: the ids of all train records. unread: tasks of which it lacks
    some, because their files could not be read."""
    file = f"{SCHEDULES}/{name}.parquet"
    trained = [task for tasks in manifest.clients for task in tasks]
    most = sum(manifest.tasks[task].train for task in trained)
    rows = manifest.files[file].rows
    if rows > most:
        faults.add("more arrivals than train records", f"{name} has {rows:,} rows for {most:,} records", True)
        return
    try:
        client, round_, position, task, ids = _columns(folder / file, rows, trained)
    except DrakeError as error:
        faults.add("schedules that cannot be read", str(error), True)
        return

    def broken(what: str, where: npt.NDArray[np.bool_]) -> None:
        if where.any():
            row = int(np.flatnonzero(where)[0])
            example = f"{name} row {row}: client {client[row]}, round {round_[row]}"
            faults.add(what, example, True, int(where.sum()))

    entry = manifest.schedules[name]
    wrong_client = (client < 0) | (client >= len(manifest.clients))
    broken("arrivals at clients that there are not", wrong_client)
    broken("arrivals in rounds that there are not", (round_ < 0) | (round_ >= entry.rounds))
    broken("arrivals of tasks that no client has", task < 0)
    owner = np.repeat(np.arange(len(manifest.clients)), [len(tasks) for tasks in manifest.clients])
    usable = ~wrong_client & (task >= 0)
    if entry.split != "dirichlet-across":  # which spreads every task over all clients
        broken("arrivals of another client's task", usable & (owner[np.maximum(task, 0)] != client))
    known = _known(task, ids, trained, index)
    known |= np.isin(task, [number for number, of in enumerate(trained) if of in unread])
    broken("arrivals of records that there are not", usable & ~known)
    broken("records that arrive twice", _again(task.astype(np.uint64), ids))
    broken("places in a round that are not 0, 1, 2, ...", _misplaced(client, round_, position))
    if entry.split == "dynamic":
        order = np.lexsort((position, round_, client))
        of, before = task[order], client[order]
        back = np.zeros(len(order), bool)
        back[order[1:]] = (np.diff(of) < 0) & (np.diff(before) == 0)
        broken("tasks that come back after the next one began", back)
        if rows < most:
            faults.add("train records that never arrive", f"{name} has {rows:,} of {most:,}", True, most - rows)


def _columns(path: Path, rows: int, trained: list[str]) -> tuple[Integers, Integers, Integers, Integers, Digests]:
    """Client, round, position, number of the task in `trained` (-1 for others) and digest of the id of every row."""
    number = {task: place for place, task in enumerate(trained)}
    integers: list[list[Integers]] = [[], [], [], []]
    ids: list[Digests] = []
    for batch in schedule_batches(path, rows):
        for column, name in zip(integers, ("client", "round", "position"), strict=False):
            values = batch.column(batch.schema.get_field_index(name))
            column.append(pc.cast(values, "int64").to_numpy(zero_copy_only=False))
        tasks = batch.column(batch.schema.get_field_index("task")).to_pylist()
        integers[3].append(np.array([number.get(task, -1) for task in tasks], np.int64))
        names = batch.column(batch.schema.get_field_index("id")).to_pylist()
        ids.append(np.array([digest(name) for name in names], np.uint64))
    client, round_, position, task = (np.concatenate(parts) if parts else np.zeros(0, np.int64) for parts in integers)
    return client, round_, position, task, np.concatenate(ids) if ids else np.zeros(0, np.uint64)


def _known(task: Integers, ids: Digests, trained: list[str], index: Index) -> npt.NDArray[np.bool_]:
    """Whether each row's record is a train record of its task."""
    found = np.zeros(len(ids), bool)
    for number, name in enumerate(trained):
        of_task = task == number
        if of_task.any():
            found[of_task] = np.isin(ids[of_task], index.ids(name, "train"))
    return found


def _again(task: Digests, ids: Digests) -> npt.NDArray[np.bool_]:
    """Rows whose record is that of an earlier row."""
    order = np.lexsort((ids, task))
    same = np.zeros(len(order), bool)
    same[order[1:]] = (np.diff(task[order]) == 0) & (np.diff(ids[order]) == 0)
    return same


def _misplaced(client: Integers, round_: Integers, position: Integers) -> npt.NDArray[np.bool_]:
    """Rows whose position is not their place, from 0, in their client's round."""
    order = np.lexsort((position, round_, client))
    wrong = np.zeros(len(order), bool)
    if len(order):
        new = np.ones(len(order), bool)
        new[1:] = (np.diff(client[order]) != 0) | (np.diff(round_[order]) != 0)
        place = np.arange(len(order))
        expected = place - np.maximum.accumulate(np.where(new, place, 0))
        wrong[order] = position[order] != expected
    return wrong
