"""What all stand-ins share: as many different records as are asked for, balanced answers, the seed decides all.

A stand-in names its benchmark and has a maker of drafts for each task. Makers and drafts are those of the mini worlds
(`drake.data.sources.mini.world`): `turn` counts the records of a split, so that answers can be balanced.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import ClassVar

from drake.catalog import Benchmark, benchmark
from drake.catalog.benchmarks import source_of
from drake.common.seeds import python_random
from drake.data.record import PUBLIC, Record
from drake.data.sources.base import Source, Split
from drake.data.sources.mini.suite import png
from drake.data.sources.mini.world import Draft, TaskMaker
from drake.errors import DrakeError

MOST_REDRAWS = 200
"""Draws of one record after the first before a task is found to have too few different ones."""

Content = tuple[str, tuple[bytes, ...]]
"""Prompt and encoded pictures; two records with the same are repeats."""


@dataclass(frozen=True)
class StandInOptions:
    """train, test: records per task and split, at least 1. public_records: public records in all, at least 0."""

    train: int = 40
    test: int = 20
    public_records: int = 128

    def __post_init__(self) -> None:
        for name, least in (("train", 1), ("test", 1), ("public_records", 0)):
            if (value := getattr(self, name)) < least:
                raise DrakeError(f"{name} must be a number of records of at least {least}, not {value}.")


class StandIn(Source):
    """The stand-in for one benchmark of the catalog."""

    benchmark: ClassVar[str]
    """Its name in the catalog."""
    public_source: ClassVar[str] = "public"
    """The source of public records, for their ids."""
    Options = StandInOptions
    options: StandInOptions
    licence = "apache-2.0"

    def __init__(self, argument: str | None = None, *, seed: int = 0, **options: int) -> None:
        super().__init__(argument, seed=seed, **options)
        self.name = f"{self.known.title} mini"
        self.has_public = self.options.public_records > 0
        self.about = (
            f"Its records are made by small programs that stand in for {self.known.title}; no sentence or picture is "
            f"taken from it. Seed {seed}."
        )

    @abstractmethod
    def makers(self) -> Mapping[str, TaskMaker]:
        """A maker of drafts for every task of the benchmark."""

    @abstractmethod
    def public_draft(self, rng: Random, turn: int) -> Draft:
        """One public record."""

    @property
    def known(self) -> Benchmark:
        """The benchmark in the catalog."""
        return benchmark(self.benchmark)

    @property
    def revision(self) -> str:
        """A hash of the code that makes the records."""
        from drake.data.building import stand_in_revision

        return f"sha256:{stand_in_revision()}"

    @property
    def clients(self) -> tuple[tuple[str, ...], ...]:
        """Those of the benchmark."""
        return self.known.clients

    def tasks(self) -> Mapping[str, Sequence[Split]]:
        """All tasks; each has both splits."""
        return dict.fromkeys(self.known.tasks, ("train", "test"))

    def records(self, task: str, split: Split) -> Iterator[Record]:
        """The records of a split, shuffled; no test record repeats a train record."""
        yield from (record for of_split, record in self._of_task(task) if of_split == split)

    def all_records(self, workers: int | None = None) -> Iterator[tuple[str, Record]]:
        """All records; made in this process, since they are few."""
        for task in self.known.tasks:
            yield from self._of_task(task)
        yield from ((PUBLIC, record) for record in self.public_records())

    def public_records(self) -> Iterator[Record]:
        """The public records, none like another."""
        seen: set[Content] = set()
        for number in range(self.options.public_records):
            draft, images = self._fresh(self.public_draft, (PUBLIC, PUBLIC), number, seen)
            metric = "accuracy" if draft.choices else "token-F1"
            id = f"{PUBLIC}/{self.public_source}/{number:06d}"
            yield Record(
                id, PUBLIC, self.public_source, PUBLIC, images, draft.prompt, draft.choices, draft.answer, metric
            )

    def _of_task(self, task: str) -> list[tuple[str, Record]]:
        make, metric, source = self._makers[task], self.known.metrics[task], source_of(task)
        seen: set[Content] = set()
        found: list[tuple[str, Record]] = []
        for split, count in (("train", self.options.train), ("test", self.options.test)):
            drafts = [self._fresh(make, (task, split), index, seen) for index in range(count)]
            python_random(self.seed, self.kind, "order", task, split).shuffle(drafts)
            for number, (draft, images) in enumerate(drafts):
                id = f"{task}/{split}/{number:06d}"
                record = Record(id, task, source, "", images, draft.prompt, draft.choices, draft.answer, metric)
                found.append((split, record))
        return found

    @cached_property
    def _makers(self) -> Mapping[str, TaskMaker]:
        return self.makers()

    def _fresh(
        self, make: Callable[[Random, int], Draft], of: tuple[str, str], index: int, seen: set[Content]
    ) -> tuple[Draft, tuple[bytes, ...]]:
        """The first draft of (task, split) `of` at `index` that is not in `seen`, to which it is added."""
        for attempt in range(MOST_REDRAWS + 1):
            draft = make(python_random(self.seed, self.kind, *of, index, attempt), index)
            images = tuple(map(png, draft.images))
            if (draft.prompt, images) not in seen:
                seen.add((draft.prompt, images))
                return draft, images
        raise DrakeError(
            f"{self.kind} found no new record for {of[0]} ({of[1]} {index}) in {MOST_REDRAWS} draws; ask for fewer "
            "records."
        )
