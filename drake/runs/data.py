"""The data of a run: the dataset that the Config names, and the public records that methods learn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from drake.catalog import benchmark as catalog_benchmark
from drake.catalog.benchmarks import DEFAULT
from drake.common.seeds import python_random
from drake.config import Config
from drake.data.benchmark import Benchmark, load
from drake.data.building import cached_mini, cached_stand_in
from drake.data.manifest import MANIFEST, read_manifest
from drake.data.public_pool import PublicPool, open_public, public_pool
from drake.data.row_groups import Rows
from drake.errors import DrakeError
from drake.models.backbone import Backbone

DATA_SEED = 0
"""The seed the embedded suite is built with: a run's own seeds vary the stream and the draws, not the questions."""


def open_data(config: Config) -> Benchmark:
    """The dataset that the Config names, or the embedded suite of its benchmark in its sizes, built once and cached.
    DrakeError for a dataset of another benchmark than the Config names."""
    data = config.data
    if data.path is not None:
        return _of_benchmark(load(data.path), data.benchmark)
    if data.benchmark != DEFAULT:
        source = catalog_benchmark(data.benchmark).stand_in
        return load(cached_stand_in(source, DATA_SEED, train=data.train, test=data.test, public=data.public))
    return load(cached_mini(DATA_SEED, train=data.train, test=data.test, public_per_world=data.public))


def _of_benchmark(found: Benchmark, name: str) -> Benchmark:
    """The dataset; DrakeError unless it has the benchmark's tasks, source by source. DRAKE is not asked for by name, so
    any dataset will do."""
    if name == DEFAULT:
        return found
    known = catalog_benchmark(name)
    has = Counter(entry.source for task, entry in found.tasks.items() if task not in found.unseen)
    if has != Counter(known.tasks_per_source) or len(found.clients) != len(known.clients):
        wanted = ", ".join(f"{count} of {source}" for source, count in known.tasks_per_source.items())
        raise DrakeError(
            f"{found.name} is not {known.title}, which has {len(known.clients)} clients and as tasks {wanted}; build "
            f"it with drake build --source {known.build[-1]}, or leave --benchmark out."
        )
    return found


def check_readable(benchmark: Benchmark, tasks: Iterable[str], backbones: Iterable[Backbone]) -> None:
    """DrakeError where a backbone that reads text alone would be asked a task with pictures, as the task's first test
    record says."""
    blind = next((found.name for found in backbones if not found.reads_pictures), None)
    if blind is None:
        return
    for task in tasks:
        rows = benchmark.rows(task, "test")
        if len(rows) and rows[0]["images"]:
            raise DrakeError(
                f"{blind} reads text alone, and the records of {task} have pictures; name a backbone that sees, or "
                "data without pictures."
            )


def check_public(config: Config, needed: bool) -> None:
    """DrakeError for a `--public` that names nothing, and where public records are `needed` and there are none. Reads
    no record and builds nothing; of a dataset on a hub nothing is known yet."""
    data = config.data
    if data.public_from is not None:
        open_public(data.public_from)
    elif needed and data.path is None and data.public == 0:
        raise _without_public(config.method, "the mini suite is made without any (data.public is 0)")
    elif needed and data.path is not None and (Path(data.path) / MANIFEST).is_file():
        manifest = read_manifest(Path(data.path))
        if not manifest.public:
            raise _without_public(config.method, f"the dataset {manifest.name} has none")


def opened_public(config: Config, benchmark: Benchmark, needed: bool) -> tuple[Rows, PublicPool | None]:
    """The public records of a run, and where they are of another source than the dataset, that one. DrakeError where
    they are `needed` and there are none."""
    if config.data.public_from is None:
        if needed and not benchmark.manifest.public:
            raise _without_public(config.method, f"the dataset {benchmark.name} has none")
        return benchmark.public_rows, None
    pool = public_pool(config.data.public_from, config.data.public_most)
    return pool.rows, pool


def public_records(pool: Rows, count: int, purpose: str) -> list[Mapping[str, Any]]:
    """`count` public records drawn for `purpose`, the same for the same arguments; all of them if fewer."""
    rows = python_random(DATA_SEED, "public", purpose).sample(range(len(pool)), min(count, len(pool)))
    return [pool[row] for row in rows]


def _without_public(method: str, why: str) -> DrakeError:
    return DrakeError(
        f"{method} learns from public records, and {why}; name some with --public, such as --public "
        "llava-mix:FOLDER with LLaVA's fine-tuning mix, or choose a dataset that has a public split."
    )
