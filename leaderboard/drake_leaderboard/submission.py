"""Submissions: a run's results with its answers, checked by scoring the answers again.

`submit` makes a submission folder of a run, `check` repeats the checks on one. Both compute every score again, see
`drake.results.rescoring`, which also lists what cannot be checked.

    submission.json   the run's main facts, and the SHA-256 of every other file
    results.json      as the run wrote it
    predictions/      as the run wrote them
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drake.common.files import check_folder, replacing, writing
from drake.errors import DrakeError
from drake.results import FILE, Results, verify
from drake.results.rescoring import prediction_files

TICKET = "submission.json"


def submit(run: Path | str, out: Path | str, data: Path | str | None = None) -> Path:
    """Write the submission folder `out` of a run folder and return its path.

    data: the dataset folder or repository; default: what the results name (a mini suite is built again).
    Raises DrakeError, having written nothing, when `out` exists or cannot be made, or the run does not pass `verify`.
    """
    run, out = Path(run), Path(out)
    check_folder(out.parent)
    if out.exists():
        raise DrakeError(f"{out} exists; name a new folder with --out.")
    results, answers, unchecked = verify(run, data)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with writing(out), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        folder = Path(scratch) / "submission"
        folder.mkdir()
        files = [Path(FILE), *prediction_files(results)]
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / file, folder / file)
        ticket: dict[str, Any] = {
            "method": results.method.name,
            "reference": results.method.reference,
            "benchmark": results.data.name,
            "fingerprint": results.data.fingerprint,
            "split": results.data.split,
            "preset": results.preset,
            "seeds": [seed_run.seed for seed_run in results.runs],
            "answers": answers,
            "tokens_unchecked": unchecked,
            "finished": results.finished,
            "sha256": {file.as_posix(): sha256(folder / file) for file in files},
        }
        write_ticket(folder, ticket)
        folder.rename(out)
    return out


def check(folder: Path | str, data: Path | str | None = None) -> Results:
    """The results of a submission folder. Raises DrakeError for the first score that does not follow from its
    answers."""
    read_ticket(folder)
    return verify(folder, data).results


def read_ticket(folder: Path | str) -> dict[str, Any]:
    """The content of submission.json. DrakeError when it is missing, or a file differs from its digest there."""
    folder = Path(folder)
    try:
        ticket = json.loads((folder / TICKET).read_text(encoding="utf-8"))
        expected: dict[str, str] = dict(ticket["sha256"])
    except FileNotFoundError:
        raise DrakeError(f"{folder} holds no {TICKET}; make the folder with `drake submit`.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DrakeError(f"{folder / TICKET} cannot be read ({error!r}); make it again with `drake submit`.") from error
    present = {
        file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file() and file.name != TICKET
    }
    if missing := sorted(set(expected) - present):
        raise DrakeError(f"{folder} lacks {len(missing)} files, the first {missing[0]}; submit the run again.")
    if extra := sorted(present - set(expected)):
        raise DrakeError(f"{folder} holds {len(extra)} files more than were submitted, first {extra[0]}; remove them.")
    for name, digest in expected.items():
        if sha256(folder / name) != digest:
            raise DrakeError(f"{folder / name} was changed after it was submitted (sha256); submit the run again.")
    return ticket


def write_ticket(folder: Path, ticket: Mapping[str, Any]) -> None:
    """Write submission.json, whole or not at all."""
    with replacing(folder / TICKET) as temporary:
        temporary.write_text(json.dumps(ticket, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
