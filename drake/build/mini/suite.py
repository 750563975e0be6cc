"""The mini suite: every world's tasks and the public split as records. `drake.build` and the tests call this.

A record depends on (seed, task, split, index) and on the records of its own world before it, never on other
worlds, on the number of workers or on timing; so the suite has the same bits on every machine.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from random import Random
from typing import NamedTuple

from PIL import Image

from drake.catalog import tasks as catalog_tasks
from drake.errors import DrakeError
from drake.seeds import python_random

from ..record import Record
from .public import public_draft
from .world import Draft, World
from .worlds import all_worlds

PUBLIC = "public"
MOST_REDRAWS = 50
RECORDS_PER_WORKER = 2000
"""A worker starts in about the time that this many records take to draw; fewer are drawn in-process."""


class _Sizes(NamedTuple):
    """Records per task and split, and public records per world."""

    train: int
    test: int
    public: int


class _WorldRecords(NamedTuple):
    tasks: list[tuple[str, Record]]
    public: list[tuple[str, Record]]


_Content = tuple[str, tuple[bytes, ...]]
"""What makes a record a repeat of another: its prompt and its encoded pictures."""


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

    Raises DrakeError when a world cannot draw that many different records, or names a task the catalog lacks.
    """
    worlds = all_worlds()
    sizes = _Sizes(train, test, public_per_world)
    if workers is None:
        total = sum(len(world.tasks) * (train + test) + public_per_world for world in worlds.values())
        workers = max(1, min(_usable_cores(), total // RECORDS_PER_WORKER))
    public: list[tuple[str, Record]] = []
    for records in _deal(partial(_world_records, seed, sizes), list(worlds), workers):
        yield from records.tasks
        public += records.public
    yield from public


def world_records(source: str, seed: int = 0, train: int = 400, test: int = 100) -> list[tuple[str, Record]]:
    """(split, record) for the tasks of one world, the same records as in `suite_records` with these sizes."""
    return _world_records(seed, _Sizes(train, test, 0), source).tasks


def _deal(job: Callable[[str], _WorldRecords], sources: Sequence[str], workers: int) -> Iterator[_WorldRecords]:
    """`job` of every source, in order."""
    if workers == 1:
        yield from map(job, sources)
        return
    # Not forked: a caller that has started threads (torch has) must not pass on their locks.
    with ProcessPoolExecutor(min(workers, len(sources)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(job, sources)


def _world_records(seed: int, sizes: _Sizes, source: str) -> _WorldRecords:
    """All records of one world: tasks first, since a public record must repeat none of them."""
    world = all_worlds()[source]
    known = catalog_tasks()
    everything: set[_Content] = set()
    of_tasks: list[tuple[str, Record]] = []
    for task, make in world.tasks.items():
        if task not in known:
            raise DrakeError(f"the mini world {source} makes {task!r}, a task the catalog does not hold.")
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
    return _WorldRecords(of_tasks, _public_records(world, seed, sizes.public, everything))


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
    """The picture as PNG without metadata; the fastest compression, for a picture is below a kilobyte."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _usable_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity
        return os.cpu_count() or 1
