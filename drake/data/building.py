"""A source (`drake.Source`) -> a dataset folder: `drake.build`.

The command line and users call `build`; a run without a dataset calls `cached_mini`, or `cached_stand_in` for another
benchmark. No source is known by name, except that `cached_mini` builds the embedded mini suite.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drake.catalog import clients as catalog_clients
from drake.catalog import tasks as catalog_tasks
from drake.catalog.licences import commercial_use
from drake.common.files import cache_folder
from drake.data.schedules import SPLITS, num_rounds
from drake.data.sources import open_source
from drake.errors import DrakeError, UnknownName

if TYPE_CHECKING:
    from drake.data.record import Record
    from drake.data.sources.base import Source

Progress = Callable[[int, int, str], None]
"""(parts done, number of parts, name of the current part); called at the start of each part and once at the end. For a
source that is built in stages (`drake.Source.in_stages`) bytes take the place of parts."""

ALWAYS = ("dynamic", "static")
"""Schedules that every dataset stores; those with a Dirichlet concentration are stored on request."""
MOST_CLIENTS = 10
"""Clients when all tasks of a source are distributed evenly."""
TASKS_PER_CLIENT = 4
"""Tasks of a further client, made of tasks that the catalog lacks."""


def build(
    source: str | Path | Source = "mini",
    split: str = "dynamic",
    out: Path | str | None = None,
    seed: int = 0,
    *,
    rounds_per_task: float = 5,
    alpha: float = 0.5,
    overwrite: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
    public: str | None = None,
    public_most: int = 5000,
    commercial_only: bool = False,
    **options: Any,
) -> Path:
    """Build a dataset folder and return it; the same arguments give the same bytes.

    source: "mini"; the official release: the folder that holds `dataset/`, `dataset/` itself, or a folder of its tar
    archives, also as "release:PATH"; "hub:OWNER/NAME" or "hub:OWNER/NAME@REVISION" to download its archives; a folder
    with a drake.toml that describes your own data, also as "folder:PATH"; the name of another registered source,
    "package.module:Class", or a `drake.Source`.
    split: "dynamic" or "static", which are always stored, or "dirichlet" or "dirichlet-across", stored in addition with
    concentration `alpha` ("dirichlet-0.1" sets both).
    out: the new folder; one below `data/` named after the source if not given.
    options: options of the source. The mini suite has train, test and public_per_world: records per task and split, and
    public records per world; the stand-ins of other benchmarks have train, test and public_records. The release has
    tasks: "NLVR2-0,VSR", tasks or sources to build.
    public: public records of another source, such as "llava-mix:FOLDER", in the place of the source's own; a sample of
    at most `public_most`, 0 for all. Not for sources that are built in stages: name it to `drake eval` then.
    commercial_only: keep only tasks whose licence is known to allow commercial use; `warn` is told which were left out.
    workers: processes for sources that compute their records.
    progress: called as parts are finished.
    warn: called with a sentence for each task with gold answers that are none of the choices, and with one about tasks
    that were left out (`warnings.warn` if not given).

    Raises DrakeError for wrong arguments and for a source that cannot be used, and then leaves no dataset behind.
    """
    from drake.data.commercial import CommercialOnly
    from drake.data.oracle import GoldVerdicts
    from drake.data.publishing import check_target
    from drake.data.staged import write_in_stages
    from drake.data.writer import Provenance, Schedules, write_dataset

    splits = _splits(split, alpha)
    num_rounds(1, rounds_per_task)  # an early check, before all records are drawn
    opened = open_source(source, seed, **options)
    chosen = CommercialOnly(opened) if commercial_only else None
    if chosen is not None:
        opened = chosen
        if public is not None:
            _check_public_licence(public)
    out = Path("data", opened.default_name) if out is None else Path(out)
    check_target(out, overwrite)
    verdicts, parameters = GoldVerdicts(), {**opened.parameters, "split": split}
    if public is not None:
        parameters |= {"public": public, "public_most": public_most}

    def described(tasks: Iterable[str], trained: Iterable[str]) -> tuple[Schedules, Provenance]:
        given = opened.clients
        clients, dealt = deal_tasks(trained) if given is None else (given, "")
        provenance = Provenance(
            name=opened.name,
            source=opened.kind,
            revision=opened.revision,
            seed=seed,
            parameters=parameters,
            licence=opened.licence,
            about=opened.about,
            licences=opened.licences_of(tasks),
            responsible_ai=opened.responsible_ai,
        )
        return Schedules(clients, splits, rounds_per_task, dealt or f"as the source {opened.kind} says"), provenance

    if opened.in_stages:
        if public is not None:
            raise DrakeError(
                f"a dataset of {source} is built in stages and takes no public records; leave --public out here, and "
                "give it to drake eval."
            )
        write_in_stages(
            out, opened, described, code=_staged_code(), overwrite=overwrite, verdicts=verdicts, progress=progress
        )
    else:
        tasks = opened.tasks()
        if not tasks and chosen is not None:
            raise chosen.nothing_left()
        if not tasks and opened.has_public:
            raise DrakeError(
                f"the source {opened.kind!r} has public records alone; add them to a dataset, with --public {source}."
            )
        schedules, provenance = described(tasks, (task for task, has in tasks.items() if "train" in has))
        records = opened.all_records(workers)
        if public is not None:
            records = _with_public(records, public, public_most)
        write_dataset(
            out,
            _reported(records, opened.parts, progress) if progress else records,
            schedules=schedules,
            provenance=provenance,
            overwrite=overwrite,
            verdicts=verdicts,
        )
    sentences = verdicts.sentences()
    if chosen is not None and (sentence := chosen.sentence()):
        sentences = [*sentences, sentence]
    for sentence in sentences:
        warn(sentence) if warn else warnings.warn(sentence, stacklevel=2)
    return out


def _check_public_licence(public: str) -> None:
    """Raise DrakeError for public records whose licence is not known to allow commercial use."""
    from drake.data.public_pool import public_licence

    if commercial_use(licence := public_licence(public)) != "allowed":
        raise DrakeError(
            f"the licence of the public records of {public} ({licence}) is not known to allow commercial use; "
            "leave out --public, or --commercial-only."
        )


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

    The folder is in $DRAKE_CACHE, or in ~/.cache/drake. Its name is a hash of the parameters and of the code that draws
    and stores the records, so that an edited world is drawn again; a suite with changed or missing files is built
    again. Several processes may build it at once: the first to finish is kept.
    """
    sizes = {"train": train, "test": test, "public_per_world": public_per_world}
    stored = sorted(map(str, _splits(split, alpha)))
    key = [seed, sizes, rounds_per_task, stored, mini_revision(), _code_of_storing()]
    return _cached("mini", key, split, seed, sizes, rounds_per_task, alpha, progress)


def cached_stand_in(source: str, seed: int = 0, *, train: int, test: int, public: int) -> Path:
    """The same for a stand-in of another benchmark, such as "glue-mini", of these sizes."""
    sizes = {"train": train, "test": test, "public_records": public}
    key = [source, seed, sizes, stand_in_revision(), _code_of_storing()]
    return _cached(source, key, "dynamic", seed, sizes, 5, 0.5, None)


def _code_of_storing() -> str:
    return _code(
        "record.py",
        "writer.py",
        "parquet_files.py",
        "columns.py",
        "manifest.py",
        "card.py",
        "croissant.py",
        "oracle.py",
    )


def _cached(
    source: str,
    key: list[Any],
    split: str,
    seed: int,
    sizes: dict[str, Any],
    rounds_per_task: float,
    alpha: float,
    progress: Progress | None,
) -> Path:
    """The dataset that `key` stands for, in the cache folder; built there unless it is there and whole."""
    folder = cache_folder() / f"{source}-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}"
    damaged = folder.exists() and not _is_whole(folder)
    if damaged and not (folder / "manifest.json").is_file():  # no dataset any more, which a build would not replace
        shutil.rmtree(folder, ignore_errors=True)
        damaged = False
    if damaged or not folder.exists():
        try:
            build(
                source,
                split,
                folder,
                seed,
                rounds_per_task=rounds_per_task,
                alpha=alpha,
                overwrite=damaged,
                progress=progress,
                **sizes,
            )
        except DrakeError:
            if not folder.exists():  # otherwise another process has built the same one meanwhile
                raise
    return folder


def _is_whole(folder: Path) -> bool:
    from drake.data.manifest import check_files, read_manifest

    try:
        check_files(folder, read_manifest(folder))
    except DrakeError:
        return False
    return True


def mini_revision() -> str:
    """A hash, in hexadecimal, over the source code that the records of the mini suite depend on."""
    return _code("sources/mini", "../catalog", "../common/seeds.py", "schedules.py")


def stand_in_revision() -> str:
    """The same for the records of the stand-ins."""
    places = ("sources/stand_ins", "sources/glue.py", "sources/mini", "../catalog", "../common/seeds.py")
    return _code(*places, "schedules.py")


def _staged_code() -> str:
    """A hash over the code, and the version of the library, that the record files of a staged build depend on."""
    import pyarrow

    code = _code(".", "../catalog", "../scoring/answers.py", "../scoring/listed.py")
    return f"{code} pyarrow {pyarrow.__version__}"


def deal_tasks(present: Iterable[str]) -> tuple[tuple[tuple[str, ...], ...], str]:
    """(tasks of each client, how they were assigned) for the tasks of a source that have train records.

    If all four tasks of at least one client of the catalog are present ("drake" first, then "hflb"), the catalog's
    clients keep those of their tasks that are present, clients without any are left out, and tasks that the catalog
    lacks form further clients of four tasks. Otherwise all tasks are distributed in turn over up to ten clients.
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
    """The schedules to store as (split, alpha), those of every dataset first."""
    match = re.fullmatch(r"(dirichlet(?:-across)?)-(\d+(?:\.\d+)?)", split)
    if match:
        split, alpha = match[1], float(match[2])
    if split not in SPLITS:
        raise UnknownName("split", split, list(SPLITS))
    if split not in ALWAYS and not 0 < alpha < math.inf:
        raise DrakeError(f"alpha must be a number above 0, not {alpha}; smaller is more uneven.")
    return [*((name, None) for name in ALWAYS), *([] if split in ALWAYS else [(split, alpha)])]


def _code(*places: str) -> str:
    """A hash over Python and TOML files: those named, and all in the folders named, relative to this file's folder."""
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


def _with_public(records: Iterable[tuple[str, Record]], public: str, most: int) -> Iterator[tuple[str, Record]]:
    """The records with the public ones of another source in the place of their own."""
    from drake.data.public_pool import drawn
    from drake.data.record import PUBLIC

    yield from ((split, record) for split, record in records if split != PUBLIC)
    yield from ((PUBLIC, record) for record in drawn(public, most))


def _reported(records: Iterable[tuple[str, Record]], parts: int, progress: Progress) -> Iterator[tuple[str, Record]]:
    now, done = None, -1
    for split, record in records:
        if (record.task, split) != now:
            now, done = (record.task, split), done + 1
            progress(done, parts, " ".join(dict.fromkeys(now)))
        yield split, record
    progress(parts, parts, "writing")
