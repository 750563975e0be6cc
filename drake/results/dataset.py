"""The dataset that a run was made on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from drake.catalog import benchmarks
from drake.config import Config, presets
from drake.errors import DrakeError
from drake.results.schema import Results

if TYPE_CHECKING:
    from drake.data.benchmark import Benchmark


class NoDataset(DrakeError):
    """The dataset of a run is not opened, because only its results name it; the user has to."""


SEED = 0
"""The seed of the embedded suite; other seeds are other datasets, which are built on request only."""
SIZES = ("train", "test", "public_per_world")
"""Keys of config["data"] with the sizes of a mini suite. Of another benchmark's, `public_per_world` are all."""


def dataset_of(results: Results, data: Path | str | None = None) -> Benchmark:
    """The dataset at `data`; without it the embedded mini suite, built again from its sizes and seed.

    Results may come from anybody, so a folder or repository that they name is not opened: DrakeError asks for it.
    """
    from drake.data import benchmark  # here: opening data imports much that ranking results does not need

    if data is not None:
        return benchmark.load(data)
    if results.data.source == "mini" and results.data.path is None:
        from drake.data.building import cached_mini

        if results.data.seed != SEED:
            raise NoDataset(
                f"the results were made with a mini suite of seed {results.data.seed}, which is not built because a "
                "results file names it; build it, and name it with --data."
            )
        train, test, public_per_world = _sizes(results.config.get("data"))
        folder = cached_mini(seed=results.data.seed, train=train, test=test, public_per_world=public_per_world)
        return benchmark.load(folder)
    stand_ins = {known.stand_in for known in benchmarks().values()} - {"mini"}
    if results.data.source in stand_ins and results.data.path is None:
        from drake.data.building import cached_stand_in

        train, test, public = _sizes(results.config.get("data"))
        folder = cached_stand_in(results.data.source, results.data.seed, train=train, test=test, public=public)
        return benchmark.load(folder)
    if results.data.path is None:
        raise NoDataset("the results name no dataset; name it with --data.")
    raise NoDataset(
        f"the results were made with the dataset {results.data.path!r}, and a folder or repository is not opened "
        "because a results file names it; name the dataset yourself, with --data."
    )


def _sizes(config: object) -> tuple[int, ...]:
    """The sizes of the mini suite; none may be larger than in every preset, since the suite would be built."""
    sizes = [cast("Mapping[str, object]", config).get(key) for key in SIZES] if isinstance(config, Mapping) else []
    found = [size for size in sizes if isinstance(size, int) and not isinstance(size, bool) and size >= 0]
    if len(found) < len(SIZES):
        raise DrakeError(
            'config["data"] of the results lacks the sizes of the mini suite; name the dataset with --data.'
        )
    most = [max(of_preset) for of_preset in zip(*map(_preset_sizes, presets().values()), strict=True)]
    if any(size > limit for size, limit in zip(found, most, strict=True)):
        raise NoDataset(
            f"the results were made with a mini suite of {found[0]:,} train, {found[1]:,} test and {found[2]:,} public "
            "records, more than any preset has, which is not built because a results file says so; build it, and name "
            "it with --data."
        )
    return tuple(found)


def _preset_sizes(preset: Config) -> tuple[int, ...]:
    return preset.data.train, preset.data.test, preset.data.public
