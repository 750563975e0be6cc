"""The data of a run: the dataset that the Config names, and the public records that methods learn from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drake.common.seeds import python_random
from drake.config import Config
from drake.data.benchmark import Benchmark, load
from drake.data.building import cached_mini
from drake.data.manifest import MANIFEST, read_manifest
from drake.data.public_pool import PublicPool, open_public, public_pool
from drake.data.row_groups import Rows
from drake.errors import DrakeError

DATA_SEED = 0
"""The seed the embedded suite is built with: a run's own seeds vary the stream and the draws, not the questions."""


def open_data(config: Config) -> Benchmark:
    """The dataset that the Config names, or the embedded mini suite in its sizes, built once and cached."""
    data = config.data
    if data.path is not None:
        return load(data.path)
    return load(cached_mini(DATA_SEED, train=data.train, test=data.test, public_per_world=data.public))


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
