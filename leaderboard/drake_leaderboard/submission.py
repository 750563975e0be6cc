"""Submissions: a run's results with its answers, checked by scoring the answers again.

`submit` makes a submission folder of a run, `check` repeats the checks on one. Both compute every score again
(`drake.results.rescoring`) and derive every other number (`validation.py`).

    submission.json         who submits what, and the SHA-256 of every other file (`tickets.py`)
    results.json            as the run wrote it
    predictions/            as the run wrote them
    aggregated/predictions/ the same after the aggregation, where the run has both
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from drake.common.files import check_folder, writing
from drake.errors import DrakeError
from drake.results import FILE, Results, load, verify

from .tickets import TICKET as TICKET
from .tickets import About, answer_files, new_ticket, sha256, write_ticket
from .tickets import read_ticket as read_ticket
from .validation import refusals, validate

__all__ = ["TICKET", "check", "read_ticket", "sha256", "submit", "write_ticket"]


def submit(run: Path | str, out: Path | str, data: Path | str | None = None, said: About | None = None) -> Path:
    """Write the submission folder `out` of a run folder and return its path.

    data: the dataset folder or repository; default: what the results name (a mini suite is built again). said: name,
    authors, link and repository. Raises DrakeError, having written nothing, when `out` exists or cannot be made, or the
    run does not pass every check that `drake validate` makes.
    """
    run, out = Path(run), Path(out)
    check_folder(out.parent)
    if out.exists():
        raise DrakeError(f"{out} exists; name a new folder with --out.")
    _, answers, unchecked = verify(run, data)
    results = load(run)
    if wrong := refusals(run, results, data):
        raise DrakeError(f"{run} cannot be submitted: {wrong[0]}; submit a run as `drake eval` wrote it.")
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with writing(out), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        folder = Path(scratch) / "submission"
        for file in (FILE, *answer_files(run, results)):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / file, folder / file)
        write_ticket(folder, new_ticket(results, answers, unchecked, folder, said or About()))
        folder.rename(out)
    return out


def check(folder: Path | str, data: Path | str | None = None) -> Results:
    """The results of a submission folder. Raises DrakeError for the first thing that does not follow from its answers,
    its configuration or the method."""
    found = validate(Path(folder), data)
    if found.refused:
        raise DrakeError(found.refused[0])
    assert found.results is not None  # else it would have been refused
    return found.results
