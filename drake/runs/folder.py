"""The run folder: one run owns it, and it is valid after any kill.

RUN/config.json      everything that decides the result; written first, changed only where seeds are added
RUN/command.json     the options of the command line, for `drake eval --resume RUN`
RUN/checkpoints/     seed-<s>/: the state after the last round; once the run is complete, only `drake export` reads it
RUN/observed/        seed-<s>/round-<k>.safetensors: what a method's mixing showed (relevance)
RUN/predictions/     seed-<s>/point-<t>.parquet
RUN/events.jsonl     what happened when, a line of JSON each (reporting.py)
RUN/results.json, RUN/curves.png, RUN/curves.svg
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

from drake.common.differences import setting_differences
from drake.errors import DrakeError
from drake.common.files import replacing

Overwrite = Literal["only-missing", "never", "always"]
OVERWRITE: tuple[Overwrite, ...] = get_args(Overwrite)
OWNED = ".drake-run"
"""Marks a folder as a run's own: nothing else is ever deleted, whatever config.json it holds."""


def claim(folder: Path, config: dict[str, Any], overwrite: Overwrite) -> None:
    """Make the folder this run's own, or find that it is already.

    only-missing: a folder of the same config is continued, also with more seeds after those it has. never: no folder
    that exists. always: what was there goes.
    Raises DrakeError for a folder of another run, one that is no run folder, and one that cannot be written.
    """
    path = folder / "config.json"
    try:
        if path.exists() and (folder / OWNED).exists() and overwrite == "always":
            doomed = folder.with_name(f".{folder.name}.{os.getpid()}")
            with working(folder):
                folder.replace(doomed)  # at once, so that a kill leaves no half of a run
            shutil.rmtree(doomed)
        if path.exists() and (folder / OWNED).exists():
            _refuse_unless_same(path, config, overwrite)
            return
        if folder.exists() and any(not child.name.startswith(".") for child in folder.iterdir()):
            raise DrakeError(f"{folder} is not empty and holds no run; choose another --out.")
        with replacing(folder / OWNED) as temporary:
            temporary.write_text("A folder of drake; --overwrite always may replace it.\n")
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(config, indent=2) + "\n")
    except OSError as error:
        raise DrakeError(f"{folder} cannot be written ({error.strerror}); choose another --out.") from error


def _refuse_unless_same(path: Path, config: dict[str, Any], overwrite: Overwrite) -> None:
    folder = path.parent
    try:
        stored = json.loads(path.read_text())
    except ValueError as error:
        raise DrakeError(f"{path} is damaged ({error}); use --overwrite always or another --out.") from error
    wanted = json.loads(json.dumps(config))
    if _more_seeds(stored, wanted):
        stored = stored | {"seeds": wanted["seeds"]}
    different = list(setting_differences(stored, wanted, between=", now "))
    if different:
        more = f" and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
        raise DrakeError(
            f"{folder} already holds another run (it differs in {', '.join(different[:SHOWN])}{more}); "
            "choose another --out or use --overwrite always."
        )
    if overwrite == "never":
        raise DrakeError(f"{folder} already holds this run; choose another --out or leave --overwrite never out.")


def _more_seeds(stored: Any, wanted: Mapping[str, Any]) -> bool:
    """Whether `wanted` names what `stored` names and then others; the first seed answers for all before training."""
    before, now = stored.get("seeds") if isinstance(stored, dict) else None, wanted.get("seeds", [])
    return isinstance(before, list) and 0 < len(before) < len(now) and now[: len(before)] == before


def add_seeds(folder: Path, config: dict[str, Any]) -> None:
    """Let the claimed folder's config name the seeds that are asked for now. Only for who is `working` on the run."""
    path, wanted = folder / "config.json", json.loads(json.dumps(config))
    if _more_seeds(json.loads(path.read_text()), wanted):
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(wanted, indent=2) + "\n")


@contextmanager
def working(folder: Path) -> Iterator[None]:
    """While this process works on the run. DrakeError when another process does: two would spoil each other's files.
    The system forgets it when the process ends, however that happens."""
    with (folder / OWNED).open("r+") as held:
        if fcntl is not None:
            try:
                fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of this process: its forks do not hold it
            except (BlockingIOError, PermissionError):
                raise DrakeError(
                    f"another process is working on {folder}; wait for it or choose another --out."
                ) from None
            except OSError:  # a file system without locks
                pass
        yield


def write_command(folder: Path, command: Mapping[str, Any]) -> None:
    """Keep the options that `drake eval` was called with; the config alone does not say where the data lie.
    `drake.runs.resuming` reads them."""
    with replacing(folder / "command.json") as temporary:
        temporary.write_text(json.dumps(dict(command), indent=2) + "\n")


SHOWN = 3
"""Differences that the refusal names."""


def checkpoint_folder(folder: Path, seed: int) -> Path:
    """Where the state of one seed is kept."""
    return folder / "checkpoints" / f"seed-{seed}"


def observed_path(folder: Path, seed: int, round: int) -> Path:
    """Where the matrices of one mixing are kept; `round` counts from 1."""
    return folder / "observed" / f"seed-{seed}" / f"round-{round}.safetensors"
