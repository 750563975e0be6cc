"""The build room: a source (the embedded mini suite, the official release) becomes a dataset folder.

The command line and users call `build`; a run without a dataset calls `cached_mini`. Knows nothing of models or
methods.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from drake.catalog import clients as catalog_clients
from drake.catalog import tasks as catalog_tasks
from drake.common.files import cache_folder
from drake.data.schedules import SPLITS, num_rounds
from drake.errors import DrakeError, UnknownName

if TYPE_CHECKING:
    from drake.data.record import Record

Progress = Callable[[int, int, str], None]
"""(parts done, parts in all, what is being made now), called at the start of each part and once at the
end."""

ALWAYS = ("dynamic", "static")
"""Schedules every dataset stores; those with a concentration are stored when asked for."""
MOST_CLIENTS = 10
TASKS_PER_CLIENT = 4


def build(
    source: str | Path = "mini",
    split: str = "dynamic",
    out: Path | None = None,
    seed: int = 0,
    *,
    train: int = 400,
    test: int = 100,
    public_per_world: int = 400,
    rounds_per_task: float = 5,
    alpha: float = 0.5,
    overwrite: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Build a dataset folder and return it; the same arguments give the same bytes.

    source: "mini", or the folder of the official release (the one that holds `dataset/`, or `dataset/`
    itself).
    split: "dynamic" or "static", which are always stored, or "dirichlet" or "dirichlet-across", stored
    besides them with concentration `alpha` (also written "dirichlet-0.1"). out: where; `data/mini` or
    `data/release` if not given.
    train, test, public_per_world, workers: records per task, public records per world and processes, of the
    mini suite only; a release is taken whole. progress: called as parts are finished.

    Raises DrakeError for anything wrong with the arguments or the source, and then leaves no dataset behind.
    """
    from drake.data.writer import Provenance, Schedules, check_target, write_dataset

    splits = _splits(split, alpha)
    num_rounds(1, rounds_per_task)  # refuses now what would be refused after all records are drawn
    if source != "mini" and not Path(source).exists():
        raise DrakeError(
            f"no source is called {str(source)!r}, and there is no such folder; give 'mini' or the folder of the "
            "official release."
        )
    out = Path("data", "mini" if source == "mini" else "release") if out is None else Path(out)
    check_target(out, overwrite)
    if source == "mini":
        from drake.data.sources.mini.suite import suite_records
        from drake.data.sources.mini.worlds import all_worlds

        for name, value in (("train", train), ("test", test), ("public_per_world", public_per_world)):
            if value < (0 if name == "public_per_world" else 1):
                raise DrakeError(f"{name} must be a number of records above 0, not {value}.")
        present = [task for world in all_worlds().values() for task in world.tasks]
        parts = 2 * len(present) + bool(public_per_world)
        records = suite_records(seed, train, test, public_per_world, workers)
        name, revision, licence = "DRAKE mini", f"sha256:{mini_revision()}", "apache-2.0"
        sizes = {"train": train, "test": test, "public_per_world": public_per_world}
    else:
        from drake.data.sources.release import release_files, release_records, release_revision

        files = release_files(Path(source))
        for task, of_task in files.items():
            if "test" not in of_task:
                raise DrakeError(f"task {task} of {source} has train records but no test/ file; it needs both.")
        present = [task for task, of_task in files.items() if "train" in of_task]
        parts = sum(map(len, files.values()))
        records = release_records(Path(source))
        name, revision, licence = "DRAKE release", release_revision(Path(source)), "other"
        sizes = {}
    clients, dealt = deal_tasks(present)
    write_dataset(
        out,
        _reported(records, parts, progress) if progress else records,
        schedules=Schedules(clients, splits, rounds_per_task, dealt),
        provenance=Provenance(
            name, "mini" if source == "mini" else "release", revision, seed, {**sizes, "split": split}, licence
        ),
        overwrite=overwrite,
    )
    return out


def cached_mini(
    seed: int = 0,
    *,
    train: int = 400,
    test: int = 100,
    public_per_world: int = 400,
    rounds_per_task: float = 5,
    split: str = "dynamic",
    alpha: float = 0.5,
    progress: Progress | None = None,
) -> Path:
    """The mini suite with these parameters (see `build`), built on first use and kept.

    It lies in $DRAKE_CACHE, or in ~/.cache/drake, under a hash of the parameters and of the code that draws
    it, so that an edited world is drawn anew. Processes may race: each builds for itself, the first to
    finish is kept.
    """
    sizes = {"train": train, "test": test, "public_per_world": public_per_world}
    stored = sorted(map(str, _splits(split, alpha)))
    key = json.dumps([seed, sizes, rounds_per_task, stored, mini_revision(), _code("record.py", "writer.py")])
    folder = cache_folder() / f"mini-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    if not folder.exists():
        try:
            build(
                "mini",
                split,
                folder,
                seed,
                **sizes,
                rounds_per_task=rounds_per_task,
                alpha=alpha,
                progress=progress,
            )
        except DrakeError:
            if not folder.exists():  # else another process was faster, and made the same
                raise
    return folder


def mini_revision() -> str:
    """A hash, in hexadecimal, over the source code that the records of the mini suite depend on."""
    return _code("sources/mini", "../catalog", "../common/seeds.py", "schedules.py")


def deal_tasks(present: Iterable[str]) -> tuple[tuple[tuple[str, ...], ...], str]:
    """(tasks of each client, how they were dealt) for the tasks of a source that have train records.

    If all four tasks of at least one client of the catalog are present ("drake" first, then "hflb"), its
    clients keep those of their tasks that are there, clients without any are dropped, and tasks that the
    catalog does not know make up further clients of four. Otherwise, all tasks are dealt one by one to up
    to ten clients.
    """
    tasks = list(dict.fromkeys(present))
    for benchmark in ("drake", "hflb"):
        official = catalog_clients(benchmark)
        if any(set(of_client) <= set(tasks) for of_client in official):
            kept = [tuple(task for task in of_client if task in tasks) for of_client in official]
            further = sorted(set(tasks) - set(catalog_tasks()))
            chunks = [
                tuple(further[start : start + TASKS_PER_CLIENT]) for start in range(0, len(further), TASKS_PER_CLIENT)
            ]
            clients = tuple(of_client for of_client in (*kept, *chunks) if of_client)
            return clients, "catalog" if clients == official else f"catalog ({benchmark}), as far as present"
    tasks.sort()
    count = min(MOST_CLIENTS, len(tasks))
    clients = tuple(tuple(tasks[client::count]) for client in range(count))
    return clients, "in turn, because no client of the catalog is complete"


def _splits(split: str, alpha: float) -> list[tuple[str, float | None]]:
    """The schedules to store: (split, alpha), the always stored ones first."""
    match = re.fullmatch(r"(dirichlet(?:-across)?)-(\d+(?:\.\d+)?)", split)
    if match:
        split, alpha = match[1], float(match[2])
    if split not in SPLITS:
        raise UnknownName("split", split, list(SPLITS))
    if split not in ALWAYS and not 0 < alpha < math.inf:
        raise DrakeError(f"alpha must be a number above 0, not {alpha}; smaller is more uneven.")
    return [*((name, None) for name in ALWAYS), *([] if split in ALWAYS else [(split, alpha)])]


def _code(*places: str) -> str:
    """A hash over Python and TOML files: of those named, and of all below the folders named, relative to
    here."""
    here = Path(__file__).parent
    hashed = hashlib.sha256()
    for place in places:
        path = here / place
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.suffix in (".py", ".toml"):
                relative = os.path.relpath(file, here).replace(os.sep, "/")
                hashed.update(f"{relative} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return hashed.hexdigest()


def _reported(records: Iterable[tuple[str, Record]], parts: int, progress: Progress) -> Iterator[tuple[str, Record]]:
    now, done = None, -1
    for split, record in records:
        if (record.task, split) != now:
            now, done = (record.task, split), done + 1
            progress(done, parts, " ".join(dict.fromkeys(now)))
        yield split, record
    progress(parts, parts, "writing")
