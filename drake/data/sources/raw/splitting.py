"""Train and test of a raw data set, without a picture, scene or phrase in both, and samples of them, by a seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from drake.common.seeds import python_random
from drake.data.sources.base import Split
from drake.data.sources.raw.dataset import Draft, Entry, RawDataset, Size
from drake.errors import DrakeError

TEST_SHARE = 0.2
"""Share of the entries that become test entries where the files hold one part of the data's own division only."""

Plan = dict[str, dict[Split, list[Draft]]]
"""The drafts of every task and split."""


def plan(dataset: RawDataset, seed: int, wanted: Sequence[str], most: Size, named: Sequence[str] = ()) -> Plan:
    """The drafts of those of the wanted tasks that get records in train and in test.

    most: upper limits beside those of the data set; negative for none. named: tasks that must get some. DrakeError if
    one of them does not, or no task does.
    """
    entries = divided(dataset, seed)
    found: Plan = {}
    for task in wanted:
        of_task: dict[Split, list[Draft]] = {}
        for split, of_split in entries.items():
            may = dataset.of_task(task, _shared_out(dataset, task, of_split, seed))
            size = getattr(dataset.sizes[task], split)
            limit = size if (asked := getattr(most, split)) < 0 else min(size, asked)
            rng = python_random(seed, "raw", task, split)
            chosen = sorted(rng.sample(range(len(may)), min(limit, len(may))))
            of_task[split] = list(dataset.drafts(task, [may[index] for index in chosen], of_split, rng))
        lacking = [split for split, drafts in of_task.items() if not drafts]
        if lacking and task in named:
            raise DrakeError(
                f"task {task} gets no {lacking[0]} record from {dataset.folder}: its files hold too few rows; add "
                "files, or leave the task out (--tasks)."
            )
        if not lacking:
            found[task] = of_task
    if not found:
        raise DrakeError(
            f"no task gets records from {dataset.folder}: its files hold too few rows; add files, or leave "
            f"{dataset.name} out (--tasks)."
        )
    return found


def divided(dataset: RawDataset, seed: int) -> dict[Split, list[Entry]]:
    """The entries of train and of test. They share no group.

    Where the files hold train and test by the data's own division, that is kept, and train entries that share a group
    with a test entry are left out. Otherwise, and where no train entry would be left, whole components of entries that
    share groups are drawn for test, until it has `TEST_SHARE` of the entries.
    """
    by_split: dict[Split, list[Entry]] = {"train": [], "test": []}
    for split, paths in dataset.record_files().items():
        for path in paths:
            for entry in dataset.entries(path):
                by_split[dataset.own_split(entry, split)].append(entry)
    tested = {group for entry in by_split["test"] for group in entry.groups}
    apart = [entry for entry in by_split["train"] if tested.isdisjoint(entry.groups)]
    if tested and apart:
        return {"train": apart, "test": by_split["test"]}
    entries = [*by_split["train"], *by_split["test"]]
    test = _drawn_components(dataset, entries, seed)
    return {
        "train": [entry for number, entry in enumerate(entries) if number not in test],
        "test": [entry for number, entry in enumerate(entries) if number in test],
    }


def _drawn_components(dataset: RawDataset, entries: Sequence[Entry], seed: int) -> set[int]:
    """The numbers of the entries that become test entries."""
    parent = list(range(len(entries)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    first: dict[str, int] = {}
    for number, entry in enumerate(entries):
        for group in entry.groups:
            parent[root(number)] = root(first.setdefault(group, number))
    members: dict[int, list[int]] = defaultdict(list)
    for number in range(len(entries)):
        members[root(number)].append(number)
    components = sorted(members.values())
    if len(components) > 1:
        components.remove(max(components, key=len))  # stays in train: it could exceed the whole share of test
        python_random(seed, "raw", "split", dataset.name).shuffle(components)
    else:
        components = []
    test: set[int] = set()
    for component in components:
        if len(test) < TEST_SHARE * len(entries) and len(test) + len(component) <= 2 * TEST_SHARE * len(entries):
            test.update(component)
    if not test and components:
        test.update(min(components, key=len))
    if not test:
        raise DrakeError(
            f"{dataset.folder} has {len(entries):,} rows that all share pictures, too few to draw test records from; "
            "add files."
        )
    return test


def _shared_out(dataset: RawDataset, task: str, entries: Sequence[Entry], seed: int) -> Sequence[Entry]:
    """The entries that belong to a task or to none; those without are shared out evenly if several tasks want them."""
    tasks = sorted(dataset.sizes)
    if not dataset.share_out or len(tasks) == 1:
        return entries
    order = list(range(len(entries)))
    python_random(seed, "raw", "share", dataset.name).shuffle(order)
    place = tasks.index(task)
    return [entries[index] for index in sorted(order[place :: len(tasks)])]
