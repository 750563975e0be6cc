"""The run folder: one run owns it, and it is valid after any kill.

RUN/config.toml      all settings, written first: `drake eval --config RUN/config.toml` runs the same again
RUN/identity.json    what decides the result: the settings, and the data, weights and versions they stood for; changed
                     only where seeds are added. A folder goes on with a run of the same identity alone
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
from drake.common.files import replacing
from drake.config import Config
from drake.config.file import write as write_config
from drake.config.sources import RUN_FILE
from drake.errors import DrakeError

Overwrite = Literal["only-missing", "never", "always"]
OVERWRITE: tuple[Overwrite, ...] = get_args(Overwrite)
OWNED = ".drake-run"
"""Marks a folder as a run's own: nothing else is ever deleted, whatever files it holds."""
IDENTITY = "identity.json"
EARLIER = "config.json"
"""What IDENTITY was called in version 0.1."""


def claim(folder: Path, identity: Mapping[str, Any], overwrite: Overwrite, config: Config | None = None) -> None:
    """Make the folder this run's own, or find that it is already.

    identity: what another run must not differ in. config: its settings, for the folder's configuration file.
    overwrite: only-missing: a folder of the same identity is continued, also with more seeds after those it has.
    never: no folder that exists. always: what was there is deleted.
    Raises DrakeError for a folder of another run, one that is no run folder, and one that cannot be written.
    """
    path = folder / IDENTITY
    try:
        there = (path.exists() or (folder / EARLIER).exists()) and (folder / OWNED).exists()
        if there and overwrite == "always":
            doomed = folder.with_name(f".{folder.name}.{os.getpid()}")
            with working(folder):
                folder.replace(doomed)  # at once, so that a kill leaves no half of a run
            shutil.rmtree(doomed)
        elif there:
            if not path.exists():
                raise _of_an_earlier_version(folder)
            _refuse_unless_same(path, identity, overwrite)
            return
        if folder.exists() and any(not child.name.startswith(".") for child in folder.iterdir()):
            raise DrakeError(f"{folder} is not empty and holds no run; choose another --out.")
        with replacing(folder / OWNED) as temporary:
            temporary.write_text("A folder of drake; --overwrite always may replace it.\n")
        if config is not None:
            write_config(config, folder / RUN_FILE)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(identity, indent=2) + "\n")
    except OSError as error:
        raise DrakeError(f"{folder} cannot be written ({error.strerror}); choose another --out.") from error


def _of_an_earlier_version(folder: Path) -> DrakeError:
    return DrakeError(
        f"{folder} holds a run of an earlier version of DRAKE, which cannot be continued; run it again with another "
        "--out, or with --overwrite always."
    )


def _refuse_unless_same(path: Path, identity: Mapping[str, Any], overwrite: Overwrite) -> None:
    folder = path.parent
    try:
        stored = json.loads(path.read_text())
    except ValueError as error:
        raise DrakeError(f"{path} is damaged ({error}); use --overwrite always or another --out.") from error
    wanted = json.loads(json.dumps(identity))
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


def store_settings(folder: Path, config: Config, identity: Mapping[str, Any]) -> None:
    """Let the claimed folder have the settings and seeds that are asked for now: a run may go on with another engine
    or more seeds. Only for who is `working` on the run."""
    write_config(config, folder / RUN_FILE)
    path, wanted = folder / IDENTITY, json.loads(json.dumps(identity))
    if _more_seeds(json.loads(path.read_text()), wanted):
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(wanted, indent=2) + "\n")


def identity_path(folder: Path) -> Path:
    """Where the identity of the folder's run stands, also in a folder that version 0.1 made."""
    path = folder / IDENTITY
    return folder / EARLIER if not path.exists() and (folder / OWNED).exists() else path


def read_identity(folder: Path) -> dict[str, Any]:
    """What decides the result of the run in the folder, also of one that an earlier version made. DrakeError where
    there is none."""
    path = identity_path(folder)
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise DrakeError(f"{folder} holds no run of `drake eval`; name its --out folder.") from error


def config_of(folder: Path) -> Path:
    """The configuration file of the run that was begun in the folder. DrakeError where there is none."""
    path = folder / RUN_FILE
    if not path.exists():
        if (folder / EARLIER).exists() and (folder / OWNED).exists():
            raise _of_an_earlier_version(folder)
        raise DrakeError(f"{folder} holds no run that `drake eval` began; start one with --out {folder}.")
    return path


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


SHOWN = 3
"""Differences that the refusal names."""


def checkpoint_folder(folder: Path, seed: int) -> Path:
    """Where the state of one seed is kept."""
    return folder / "checkpoints" / f"seed-{seed}"


def observed_path(folder: Path, seed: int, round: int) -> Path:
    """Where the matrices of one mixing are kept; `round` counts from 1."""
    return folder / "observed" / f"seed-{seed}" / f"round-{round}.safetensors"
