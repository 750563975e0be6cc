"""The checks of a dataset's files: those that its manifest lists, files that it does not list, and its card."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from drake.data.card import configs_yaml
from drake.data.checks import Faults
from drake.data.manifest import DATA, SCHEDULES, Manifest, check_hash, check_size
from drake.data.sources.files import read_regular
from drake.errors import DrakeError

MOST_FOUND = 1_000_000
"""Files in the folder that are looked at."""
MOST_CARD_BYTES = 16 << 20


def check_listed(
    folder: Path, manifest: Manifest, faults: Faults, *, hashes: bool, moved: Callable[[float, str], None]
) -> set[str]:
    """Compare the files with the manifest; the names of those that agree. hashes: read them all, not only sizes."""
    agreeing: set[str] = set()
    for name, entry in manifest.files.items():
        try:
            check_size(folder, name, entry)
            if hashes:
                check_hash(folder, name, entry)
        except DrakeError as error:
            faults.add("files that differ from the manifest", str(error), True)
        except OSError as error:
            faults.add("files that cannot be read", f"{folder / name} ({error.strerror})", True)
        else:
            agreeing.add(name)
        moved(entry.bytes, name)
    return agreeing


def check_unlisted(folder: Path, manifest: Manifest, faults: Faults) -> None:
    """Look for files that `datasets.load_dataset` would read as part of a split although the manifest lacks them."""
    seen = 0
    for top in (DATA, SCHEDULES):
        for place, folders, names in os.walk(folder / top, followlinks=False):
            for name in folders:
                if os.path.islink(os.path.join(place, name)):
                    faults.add("folders that are links", os.path.join(place, name), True)
            for name in names:
                seen += 1
                path = Path(place, name)
                if path.relative_to(folder).as_posix() not in manifest.files:
                    faults.add("files that the manifest does not list", str(path), path.suffix == ".parquet")
            if seen > MOST_FOUND:
                faults.add("very many files", f"more than {MOST_FOUND:,}; the rest was not looked at", True)
                return


def check_card(folder: Path, manifest: Manifest, faults: Faults) -> None:
    """Whether README.md has the configs of this build: they name the files for `datasets.load_dataset`, and the key by
    which it tells the builds apart in its cache."""
    path = folder / "README.md"
    try:
        text = read_regular(path, MOST_CARD_BYTES).decode(errors="replace")
    except DrakeError as error:
        faults.add("no dataset card", str(error), False)
        return
    if configs_yaml(manifest) not in text:
        faults.add(
            "a card of another build",
            f"{path} names other files or another key than this build; datasets.load_dataset may open something else",
            False,
        )
