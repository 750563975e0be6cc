"""The mini suite as a source: `drake build --source mini`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from drake.data.record import PUBLIC, Record
from drake.data.sources.base import Source, Split
from drake.errors import DrakeError


@dataclass(frozen=True)
class MiniOptions:
    """train, test: records per task and split, at least 1. public_per_world: public records per world, at least 0."""

    train: int = 400
    test: int = 100
    public_per_world: int = 400

    def __post_init__(self) -> None:
        for name, least in (("train", 1), ("test", 1), ("public_per_world", 0)):
            if (value := getattr(self, name)) < least:
                raise DrakeError(f"{name} must be a number of records of at least {least}, not {value}.")


RESPONSIBLE_AI = {
    "dataAnnotationProtocol": "None: the program that draws a scene knows its answer.",
    "dataLimitations": "Scenes of some dozen pixels with conventions of their own: no score on them carries over "
    "to photographs or to the sources that they stand in for. Some test scenes differ little from train scenes.",
    "personalSensitiveInformation": "None: all pictures and texts are made by programs.",
}
"""What is known of the suite, by field of Croissant's responsible-AI vocabulary."""


class MiniSource(Source):
    """Procedural worlds that stand in for every source data set of DRAKE; the seed decides every record."""

    kind = "mini"
    Options = MiniOptions
    options: MiniOptions

    name = "DRAKE mini"
    licence = "apache-2.0"
    responsible_ai = RESPONSIBLE_AI

    def __init__(self, argument: str | None = None, *, seed: int = 0, **options: Any) -> None:
        super().__init__(argument, seed=seed, **options)
        self.has_public = self.options.public_per_world > 0
        self.about = (
            "Its pictures are drawn by small programs that stand in for the sources of DRAKE; no picture or "
            f"sentence is taken from them. Seed {seed}."
        )

    @property
    def revision(self) -> str:
        """A hash of the code that draws the suite."""
        from drake.data.building import mini_revision

        return f"sha256:{mini_revision()}"

    @cached_property
    def _world_of(self) -> dict[str, str]:
        from drake.data.sources.mini.worlds import all_worlds

        return {task: source for source, world in all_worlds().items() for task in world.tasks}

    def tasks(self) -> dict[str, Sequence[Split]]:
        """All tasks of all worlds; each has both splits."""
        return dict.fromkeys(self._world_of, ("train", "test"))

    def records(self, task: str, split: Split) -> Iterator[Record]:
        """The records of one split. `all_records` draws all splits faster."""
        from drake.data.sources.mini.suite import world_records

        of_world = world_records(self._world_of[task], self.seed, self.options.train, self.options.test)
        yield from (record for of_split, record in of_world if (record.task, of_split) == (task, split))

    def public_records(self) -> Iterator[Record]:
        """The public records of all worlds. They must not repeat a task's record, so those are drawn too."""
        yield from (record for split, record in self.all_records(workers=1) if split == PUBLIC)

    def all_records(self, workers: int | None = None) -> Iterator[tuple[str, Record]]:
        """All records, drawn by `workers` processes (one per core, fewer for a small suite, if None)."""
        from drake.data.sources.mini.suite import suite_records

        options = self.options
        return suite_records(self.seed, options.train, options.test, options.public_per_world, workers)
