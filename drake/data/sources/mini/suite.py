"""The mini suite: every world's tasks and the public split as records. `drake.data.building` and the tests call this.

A record depends on (seed, task, split, index) and on the records of its own world before it, never on other
worlds, on the number of workers or on timing; so the suite has the same bits on every machine.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from PIL import Image

from drake.catalog import tasks as catalog_tasks
from drake.common.seeds import python_random
from drake.data.record import PUBLIC, Record
from drake.data.sources.mini.public import public_draft
from drake.data.sources.mini.world import Draft, World
from drake.data.sources.mini.worlds import all_worlds
from drake.errors import DrakeError

MOST_REDRAWS = 50
"""Draws of one record after the first before the world is found to have too few different ones."""
RECORDS_PER_WORKER = 2000
"""Records that are drawn in about the time a worker process takes to start; for fewer, none is started."""


class Sizes(NamedTuple):
    """Records per task and split, and public records per world."""

    train: int
    test: int
    public: int


class WorldRecords(NamedTuple):
    """(split, record) of one world: those of its tasks, and its public ones."""

    tasks: list[tuple[str, Record]]
    public: list[tuple[str, Record]]


_Content = tuple[str, tuple[bytes, ...]]
"""Prompt and encoded pictures; two records with the same are repeats."""


def suite_records(
    seed: int = 0,
    train: int = 400,
    test: int = 100,
    public_per_world: int = 400,
    workers: int | None = None,
) -> Iterator[tuple[str, Record]]:
    """(split, record) for the train and test split of every task, then the public split, in a fixed order.

    Tasks come world by world, the worlds sorted by module name. `workers` processes draw the worlds (default:
    one per core this process may use, fewer for a small suite); their number does not change the records.
    Answers are balanced within a split, whose records are shuffled.

    Raises DrakeError if a world cannot draw that many different records, or has a task that the catalog lacks.
    """
    from drake.data.sources.mini.processes import drawn_worlds

    worlds = all_worlds()
    sizes = Sizes(train, test, public_per_world)
    if workers is None:
        total = sum(len(world.tasks) * (train + test) + public_per_world for world in worlds.values())
        workers = max(1, min(_usable_cores(), total // RECORDS_PER_WORKER))
    public: list[tuple[str, Record]] = []
    for records in drawn_worlds(seed, sizes, list(worlds), workers):
        yield from records.tasks
        public += records.public
    yield from public


def world_records(source: str, seed: int = 0, train: int = 400, test: int = 100) -> list[tuple[str, Record]]:
    """(split, record) for the tasks of one world, the same records as in `suite_records` with these sizes."""
    return records_of_world(seed, Sizes(train, test, 0), source).tasks


def records_of_world(seed: int, sizes: Sizes, source: str) -> WorldRecords:
    """All records of one world: tasks first, since no public record may repeat one of them."""
    world = all_worlds()[source]
    known = catalog_tasks()
    everything: set[_Content] = set()
    of_tasks: list[tuple[str, Record]] = []
    for task, make in world.tasks.items():
        if task not in known:
            raise DrakeError(f"the mini world {source} has a task that is not in the catalog: {task!r}.")
        seen: set[_Content] = set()
        for split, count in (("train", sizes.train), ("test", sizes.test)):
            drafts = [_fresh_draft(make, seed, (task, split), index, seen) for index in range(count)]
            python_random(seed, "mini", "order", task, split).shuffle(drafts)
            category, metric = known[task].category or "", known[task].metric
            of_tasks += [
                (split, _record(f"{task}/{split}/{number:06d}", task, world, category, metric, draft, images))
                for number, (draft, images) in enumerate(drafts)
            ]
        everything |= seen
    return WorldRecords(of_tasks, _public_records(world, seed, sizes.public, everything))


def _public_records(world: World, seed: int, count: int, seen: set[_Content]) -> list[tuple[str, Record]]:
    def make(rng: Random, turn: int) -> Draft:
        return public_draft(world, rng)

    drafts = [_fresh_draft(make, seed, (world.source, PUBLIC), index, seen) for index in range(count)]
    return [
        (
            PUBLIC,
            _record(
                f"{PUBLIC}/{world.source}/{number:06d}",
                PUBLIC,
                world,
                PUBLIC,
                "accuracy" if draft.choices else "token-F1",
                draft,
                images,
            ),
        )
        for number, (draft, images) in enumerate(drafts)
    ]


def _fresh_draft(
    make: Callable[[Random, int], Draft], seed: int, of: tuple[str, str], index: int, seen: set[_Content]
) -> tuple[Draft, tuple[bytes, ...]]:
    """The first draft of (task, split) `of` at `index` that is not in `seen`, to which it is added."""
    for attempt in range(MOST_REDRAWS + 1):
        draft = make(python_random(seed, "mini", *of, index, attempt), index)
        images = tuple(png(image) for image in draft.images)
        content = (draft.prompt, images)
        if content not in seen:
            seen.add(content)
            return draft, images
    raise DrakeError(
        f"the mini suite found no new record for {of[0]} ({of[1]} {index}) in {MOST_REDRAWS} redraws; "
        "ask for fewer records, or let its world vary more."
    )


def _record(
    id: str, task: str, world: World, category: str, metric: str, draft: Draft, images: tuple[bytes, ...]
) -> Record:
    return Record(id, task, world.source, category, images, draft.prompt, draft.choices, draft.answer, metric)


def png(image: Image.Image) -> bytes:
    """The picture as PNG without metadata; compressed fast, as a picture has less than a kilobyte."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _usable_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity
        return os.cpu_count() or 1
