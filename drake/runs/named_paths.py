"""Which paths of a run folder's settings may be opened.

A run folder may come from anybody, and a path or repository that it names is no reason to open that. It is opened where
one of these holds:

- it lies in the run folder itself, or is a name that drake knows: an embedded backbone, one of the catalog, the suite;
- the user names the setting on the command line too;
- the user has begun a run with it on this machine. `remember` keeps the paths of every run that is begun, in the cache
  folder, so that runs of one's own continue without more options.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from drake import catalog
from drake.common.files import cache_folder, writing
from drake.common.outside import read_text, shown
from drake.config import Config
from drake.errors import DrakeError
from drake.models.checkpoints import embedded

FILE = "paths-of-my-runs.jsonl"
"""In the cache folder: a path that a run was begun with here on each line, as JSON text."""
MOST_BYTES = 64 << 20
SUITE = "mini"

Named = Mapping[str, Sequence[str]]
"""Option of the command line, without its dashes -> the paths, repositories or names that the setting holds."""


def named_by(config: Config) -> Named:
    """What a run of these settings opens beside the run folder."""
    data = config.data
    found = {
        "models": list(config.models),
        "data": [] if data.path is None else [data.path],
        "public": [] if data.public_from is None else [data.public_from],
    }
    options = {
        name: value
        for name, value in config.method_options.items()
        if isinstance(value, str) and value and ("/" in value or "\\" in value or Path(value).exists())
    }
    if config.method == "adapters":
        return found | {"adapters": [config.method_options["folder"]]}
    return found | {f"set {config.method}.{name}": [value] for name, value in options.items()}


def check(run: Path, named: Named, repeated: Collection[str], how: str) -> None:
    """DrakeError for the first path that only the run folder names. repeated: the options that the user gave. how: what
    to do about it, with {option} and {value} in it."""
    mine: set[str] | None = None
    for option, values in named.items():
        for value in values:
            if option in repeated or _is_known(option, value) or _lies_in(run, value):
                continue
            mine = _remembered() if mine is None else mine
            if _key(value) not in mine:
                raise DrakeError(
                    f"{shown(run)} names {shown(value)!r} ({option.removeprefix('set ')}), and no run on this machine "
                    f"was begun with it, so it is not opened; if you trust it, "
                    f"{how.format(option=option, value=shown(','.join(values)))}."
                )


def remember(config: Config) -> None:
    """Keep what the run of these settings opens: the user began it here."""
    keys = {
        _key(value) for option, values in named_by(config).items() for value in values if not _is_known(option, value)
    }
    if not keys:
        return
    try:
        if new := sorted(keys - _remembered()):
            path = cache_folder() / FILE
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a", encoding="utf-8") as file:  # one write, so that processes do not mix lines
                    file.write("".join(f"{json.dumps(key)}\n" for key in new))
    except DrakeError:  # a cache folder that cannot be written: --resume will ask for the paths again
        return


def _remembered() -> set[str]:
    path = cache_folder() / FILE
    return set(_lines(path)) if path.exists() else set()


def _lines(path: Path) -> Iterator[str]:
    for line in read_text(path, MOST_BYTES).splitlines():
        try:
            value = json.loads(line)
        except ValueError:  # a line that a kill cut off
            continue
        if isinstance(value, str):
            yield value


def _is_known(option: str, value: str) -> bool:
    if option == "models":
        return value in catalog.models() or value in embedded()
    return option == "public" and value == SUITE


def _lies_in(run: Path, value: str) -> bool:
    _, _, place = value.rpartition(":")
    return Path(place).expanduser().resolve().is_relative_to(run.resolve())


def _key(value: str) -> str:
    """The same for all ways to write a path; other texts, such as repositories, as they are. `kind:FOLDER` is a source
    of public records."""
    kind, colon, place = value.rpartition(":")
    path = Path(place).expanduser()
    return f"{kind}{colon}{path.resolve()}" if path.exists() else value
