"""Many runs at once: `drake.load_results(paths)` reads them, `.to_dataframe()` turns them into a pandas data frame."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from drake.errors import DrakeError
from drake.results.files import load, run_folders
from drake.results.schema import Results

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["scores", "answers", "rounds"]
"""What a row of a data frame stands for."""


@dataclass(frozen=True)
class ResultSet(Sequence[Results]):
    """The results of several runs, in the order of their folders."""

    folders: tuple[Path, ...]
    """The run folders, as they were named."""
    results: tuple[Results, ...]
    """The results of each folder."""

    def __len__(self) -> int:
        return len(self.results)

    @overload
    def __getitem__(self, index: int) -> Results: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Results]: ...
    def __getitem__(self, index: int | slice) -> Results | Sequence[Results]:
        return self.results[index]

    def to_dataframe(self, kind: Kind = "scores") -> pd.DataFrame:
        """All runs in one pandas data frame; every row names its run (the folder), method and seed.

        "scores": a row per score of a client on a task, at every evaluation point and by both protocols.
        "answers": a row per stored answer; reads the prediction files of the run folders.
        "rounds": a row per round and client: training loss, bytes sent and received.
        The columns are documented in `drake.results.frames`. Raises DrakeError for another kind, and where the
        answers of a run are missing.
        """
        from drake.results import frames  # here: pandas takes a second to import

        makers = {"scores": frames.scores, "answers": frames.answers, "rounds": frames.rounds}
        if kind not in makers:
            raise DrakeError(f"there is no data frame {kind!r}; choose one of {', '.join(makers)}.")
        return makers[kind](list(zip(self.folders, self.results, strict=True)))


def load_results(paths: Path | str | Iterable[Path | str]) -> ResultSet:
    """Read the results of one or more runs.

    paths: a run folder, a folder that holds run folders at any depth, a pattern such as "runs/fed*", or several of
    these. A run that is named twice is read once.
    Raises DrakeError for a path or pattern that leads to no results, and for a file that cannot be read.
    """
    named = [paths] if isinstance(paths, str | Path) else list(paths)
    folders = tuple(run_folders(folder for path in named for folder in _expanded(path)))
    return ResultSet(folders, tuple(load(folder) for folder in folders))


def _expanded(path: Path | str) -> list[Path]:
    """The folders that a pattern matches; a path that exists, or is no pattern, as it is."""
    if Path(path).exists() or not glob.has_magic(str(path)):
        return [Path(path)]
    found = sorted(Path(match) for match in glob.glob(str(path), recursive=True) if Path(match).is_dir())
    if not found:
        raise DrakeError(f"no folder matches {path}; name the folder of a run, or one that holds runs.")
    return found
