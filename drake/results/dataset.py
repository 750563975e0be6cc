"""The dataset that a run was made on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from drake.errors import DrakeError
from drake.results import Results

if TYPE_CHECKING:
    from drake.data.benchmark import Benchmark


def open_data(results: Results, data: Path | str | None) -> Benchmark:
    """The dataset at `data`; without it the embedded mini suite, built again from its sizes and seed.

    Results may come from anybody, so a folder or repository that they name is not opened: DrakeError asks for it.
    """
    from drake.data import benchmark  # here: opening data imports much, and reading the ranking needs none of it

    if data is not None:
        return benchmark.load(data)
    if results.data.source == "mini" and results.data.path is None:
        from drake.data.building import cached_mini

        sizes = results.config.get("data")
        if not isinstance(sizes, dict) or not {"train", "test", "public_per_world"} <= set(sizes):
            raise DrakeError(
                'config["data"] of the results lacks the sizes of the mini suite; name the dataset with --data.'
            )
        return benchmark.load(
            cached_mini(
                seed=results.data.seed,
                train=sizes["train"],
                test=sizes["test"],
                public_per_world=sizes["public_per_world"],
            )
        )
    if results.data.path is None:
        raise DrakeError("the results do not say where their data are; name the dataset with --data.")
    raise DrakeError(
        f"the results were made with the dataset {results.data.path!r}, and a folder or repository is not opened "
        "because a results file names it; name the dataset yourself, with --data."
    )
