"""The text tracks Fed-LLM-Large, Fed-aya and Fed-Scope from a folder: `drake build --source fed-aya:PATH`.

The folder has the layout of the official release, without pictures, and the public records beside it:

    dataset/<source>/train/dataset-<k>.json      dataset/<source>/test/dataset-<k>.json
    dataset/chatbotIT.json

Sources, clients and metrics are in the catalog (`drake.catalog.benchmarks`). A record is {conversations: [human, gpt]}.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from drake.catalog import Benchmark, benchmark
from drake.catalog.benchmarks import source_of
from drake.data.record import PUBLIC, Record
from drake.data.sources.base import Split
from drake.data.sources.files import MOST_RECORD_BYTES, check_regular
from drake.data.sources.json_list import json_items
from drake.data.sources.release import ReleaseSource
from drake.data.sources.release_rows import one_turn, place
from drake.data.sources.release_trees import Tree
from drake.errors import DrakeError

PUBLIC_FILE = "chatbotIT.json"


class TextTrack(ReleaseSource):
    """The tasks of one text track. Other tasks and sources that the folder holds are left out."""

    benchmark: ClassVar[str]
    """Its name in the catalog."""
    wants_argument = "the folder that holds dataset/, in the layout of the official release"
    in_stages = False  # texts are small

    def __init__(self, argument: str | None = None, *, seed: int = 0, **options: Any) -> None:
        super().__init__(argument, seed=seed, **options)
        self.name = self.known.title
        self.about = f"Its records come from a copy of {self.name} in the layout of the official release. Seed {seed}."
        root = Path(str(self.argument)).expanduser()
        places = [folder / PUBLIC_FILE for folder in (root / "dataset", root)]
        self._public = next((path for path in places if path.is_file()), None)
        self.has_public = self._public is not None

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """None: a path without a name is the official release's."""
        return False

    @property
    def known(self) -> Benchmark:
        """The benchmark in the catalog."""
        return benchmark(self.benchmark)

    @cached_property
    def _tree_of(self) -> dict[str, Tree]:
        """The tree of each task of the track."""
        found = {task: tree for tree in self._trees for task in tree.files}
        chosen: dict[str, Tree] = {}
        for source, count in self.known.tasks_per_source.items():
            named = [task for task in self.known.tasks if source_of(task) == source]
            there = sorted((task for task in found if source_of(task) == source), key=_number)
            if missing := [task for task in named if task not in found]:
                if len(there) != count:
                    raise DrakeError(
                        f"{self.name} has {count} tasks of {source}, and {self.argument} has {len(there)}; the first "
                        f"that is missing is dataset/{source}/train/dataset-{_number(missing[0])}.json."
                    )
                named = there  # as many, numbered in another way
            chosen |= {task: found[task] for task in named}
        return chosen

    @property
    def clients(self) -> tuple[tuple[str, ...], ...]:
        """Those of the catalog; where the folder numbers the tasks in another way, the same number of tasks each, in
        order."""
        if set(self._tree_of) == set(self.known.tasks):
            return self.known.clients
        tasks = iter(self._tree_of)
        return tuple(tuple(next(tasks) for _ in of_client) for of_client in self.known.clients)

    def records(self, task: str, split: Split) -> Iterator[Record]:
        """The records of one file. Train records that are test records too, as in Fed-Scope, are left out."""
        found = super().records(task, split)
        if split == "test":
            yield from found
            return
        tested = {(record.prompt, record.answer) for record in super().records(task, "test")}
        yield from (record for record in found if (record.prompt, record.answer) not in tested)

    def public_records(self) -> Iterator[Record]:
        """The records of chatbotIT.json: the first question with the first answer of each."""
        if self._public is None:
            return
        check_regular(self._public, MOST_RECORD_BYTES)
        with self._public.open("rb") as file:
            for index, row in enumerate(json_items(file, str(self._public))):
                where = place(str(self._public), index)
                try:
                    turns = row.get("conversations") if isinstance(row, dict) else None
                    first = turns[:2] if isinstance(turns, list) else None
                    prompt, answer = one_turn(where, {"conversations": first})
                    id = f"{PUBLIC}/chatbotIT/{index:06d}"
                    yield Record(id, PUBLIC, "chatbotIT", PUBLIC, (), prompt, (), answer, "ROUGE-L")
                except DrakeError as error:
                    self.on_bad_record(error)

    def _kind(self, task: str) -> tuple[str, str]:
        return "", "ROUGE-L"


def _number(task: str) -> int:
    found = re.search(r"-(\d+)$", task)
    return int(found[1]) if found else -1


class FedLLMLargeSource(TextTrack):
    """52 clients of 2 tasks."""

    kind = "fed-llm-large"
    benchmark = "fed-llm-large"


class FedAyaSource(TextTrack):
    """8 clients of 4 tasks."""

    kind = "fed-aya"
    benchmark = "fed-aya"


class FedScopeSource(TextTrack):
    """5 clients of 4 tasks."""

    kind = "fed-scope"
    benchmark = "fed-scope"
