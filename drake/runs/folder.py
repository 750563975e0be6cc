"""The run folder: one run owns it, and it is valid after any kill.

RUN/config.toml      all settings, written first: `drake eval --config RUN/config.toml` runs the same again
RUN/identity.json    everything that decides the result: the settings, and the data, weights and versions they stood
                     for; changed only where seeds are added. A folder is continued only by a run of the same identity
RUN/checkpoints/     seed-<s>/: the state after the last round; once the run is complete, only `drake export` reads it
RUN/observed/        seed-<s>/round-<k>.safetensors: matrices of a method's aggregation, such as task relevance
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
from drake.common.files import read_json_object, remove_half_written, replacing, writing
from drake.config import Config
from drake.config.file import write as write_config
from drake.config.sources import RUN_FILE, from_file
from drake.errors import DrakeError
from drake.federation.registry import named_by_folder
from drake.results import FILE as RESULTS
from drake.runs.named_paths import remember

Overwrite = Literal["only-missing", "never", "always"]
OVERWRITE: tuple[Overwrite, ...] = get_args(Overwrite)
OWNED = ".drake-run"
"""Marks a folder as a run's own: nothing else is ever deleted, whatever files it holds."""
IDENTITY = "identity.json"
EARLIER = "config.json"
"""What IDENTITY was called in version 0.1."""


def claim(folder: Path, identity: Mapping[str, Any], overwrite: Overwrite, config: Config | None = None) -> None:
    """Make the folder this run's own, or check that it already is.

    identity: everything that decides the result. config: the run's settings, for the folder's configuration file.
    overwrite: only-missing: a folder of the same identity is continued, also with more seeds after those it has.
    never: no folder that exists. always: what was there is deleted.
    Raises DrakeError for a folder of another run, one that is no run folder, and one that cannot be written.
    """
    path = folder / IDENTITY
    if config is not None:
        remember(config)
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
    folder, stored = path.parent, read_json_object(path)
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


def _more_seeds(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether the seeds of `wanted` are those of `stored` and further ones after them. The order matters: the answers
    before training are computed for the first seed and copied to the others."""
    before, now = stored.get("seeds"), wanted.get("seeds", [])
    return isinstance(before, list) and 0 < len(before) < len(now) and now[: len(before)] == before


def store_settings(folder: Path, config: Config, identity: Mapping[str, Any]) -> None:
    """Write the settings and seeds that are asked for now into the claimed folder: a run may be continued with another
    engine or more seeds. Call it only inside `working`."""
    write_config(config, folder / RUN_FILE)
    path, wanted = folder / IDENTITY, json.loads(json.dumps(identity))
    if _more_seeds(read_json_object(path), wanted):
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(wanted, indent=2) + "\n")


def identity_path(folder: Path) -> Path:
    """Where the identity of the folder's run stands, also in a folder that version 0.1 made."""
    path = folder / IDENTITY
    return folder / EARLIER if not path.exists() and (folder / OWNED).exists() else path


def read_identity(folder: Path) -> dict[str, Any]:
    """Everything that decides the result of the run in the folder, also of one that version 0.1 made. DrakeError where
    there is none and where the file is damaged."""
    path = identity_path(folder)
    if not path.exists():
        raise DrakeError(f"{folder} holds no run of `drake eval`; name its --out folder.")
    return read_json_object(path)


def is_run_folder(folder: Path) -> bool:
    """Whether a run made the folder, or somebody who wants it to look so."""
    return any((folder / name).exists() for name in (OWNED, IDENTITY, RESULTS, "events.jsonl", "checkpoints"))


def config_of(folder: Path) -> Path:
    """The configuration file of the run that was begun in the folder. DrakeError where there is none."""
    path = folder / RUN_FILE
    if not path.exists():
        if (folder / EARLIER).exists() and (folder / OWNED).exists():
            raise _of_an_earlier_version(folder)
        raise DrakeError(f"{folder} holds no run that `drake eval` began; start one with --out {folder}.")
    return path


def method_of(folder: Path, repeated: str | None) -> str:
    """The method that the folder's configuration file names. repeated: what the user named; required for a
    "module:Class", because importing code that only a folder names would run anybody's code. DrakeError otherwise."""
    named = from_file(config_of(folder)).settings.get("method")
    return named_by_folder(folder, None if named is None else named.value, repeated)


def refuse_links(folder: Path) -> None:
    """DrakeError for a run folder with symbolic links in it: a run that continues writes through them, and deletes old
    checkpoints, so a folder that somebody else made could change files anywhere."""
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise DrakeError(
                f"{path} is a symbolic link, and --resume writes nothing outside the run folder; if the link is yours, "
                "continue with the command that began the run."
            )


@contextmanager
def working(folder: Path) -> Iterator[None]:
    """A block in which this process alone works on the run. DrakeError when another process does: two would overwrite
    each other's files. The lock ends with the process, however that ends. What a killed process left half-written is
    deleted first."""
    try:
        held = (folder / OWNED).open("r+")
    except OSError as error:
        raise DrakeError(f"{folder} cannot be written ({error.strerror}); choose another --out.") from error
    with held:
        if fcntl is not None:
            try:
                fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of this process: its forks do not hold it
            except (BlockingIOError, PermissionError):
                raise DrakeError(
                    f"another process is working on {folder}; wait for it or choose another --out."
                ) from None
            except OSError:  # a file system without locks
                pass
        with writing(folder):
            remove_half_written(folder)
        yield


SHOWN = 3
"""Differences that the refusal names."""


def checkpoint_folder(folder: Path, seed: int) -> Path:
    """Where the state of one seed is kept."""
    return folder / "checkpoints" / f"seed-{seed}"


def observed_path(folder: Path, seed: int, round: int) -> Path:
    """Where the matrices of one aggregation are kept; `round` counts from 1."""
    return folder / "observed" / f"seed-{seed}" / f"round-{round}.safetensors"
