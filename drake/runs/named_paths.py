"""Which paths of a run folder's settings may be opened.

A run folder may come from anybody, and a path or repository that it names is no reason to open that. It is opened where
one of these holds:

- it lies in the run folder itself, or is a name that drake knows: an embedded backbone, one of the catalog, the suite;
- the user names the setting on the command line too;
- the user has begun a run with it on this machine. `remember` keeps the paths of every run that is begun, in the cache
  folder, so that runs of one's own continue without more options.

A mini suite that is larger than any preset's is built on the same conditions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from drake import catalog
from drake.common import own_paths
from drake.common.outside import shown
from drake.config import Config, presets
from drake.config.flags import FLAGS
from drake.config.schema import known_settings
from drake.config.sources import Source
from drake.errors import DrakeError
from drake.models.checkpoints import embedded

FILE = own_paths.FILE
SUITE = "mini"
SIZES = ("train", "test", "public")
"""Settings of `data` that say how many records of a mini suite are built."""

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
            mine = own_paths.kept() if mine is None else mine
            if own_paths.key(value) not in mine:
                raise DrakeError(
                    f"{shown(run)} names {shown(value)!r} ({option.removeprefix('set ')}), and no run on this machine "
                    f"was begun with it, so it is not opened; if you trust it, "
                    f"{how.format(option=option, setting=_setting(option), value=shown(','.join(values)))}."
                )


def _setting(option: str) -> str:
    return "adapters.folder" if option == "adapters" else option.removeprefix("set ")


def given_by(*sources: Source) -> set[str]:
    """The names of all settings that the user gave, as the keys of `Named` are."""
    short = {full: name for name, full in FLAGS.items()}
    found = {short.get(full, full) for source in sources for full in source.settings}
    options = {f"{method}.{name}" for source in sources for method, values in source.options.items() for name in values}
    return found | {f"set {name}" for name in options} | ({"adapters"} if "adapters.folder" in options else set())


def from_run_folder(config: Config, run: Path, given: Collection[str], how: str) -> tuple[Config, str | None]:
    """The settings of a run folder's configuration file as they may be used, and the folder for encoded pictures that
    was left out of them: files are written to it and the oldest are deleted, so the user has to name it.

    given: names of the settings that the user gave. how: see `check`. DrakeError for a path that only the folder names.
    """
    check(run, named_by(config), given, how)
    _check_sizes(run, config, given)
    unused = config.execution.feature_cache if "feature_cache" not in given else None
    changes = {} if unused is None else {"feature_cache": None}
    if "feature_cache_gb" not in given:
        changes["feature_cache_gb"] = known_settings()["execution.feature_cache_gb"].default
    return config.with_(**changes), unused


def remember(config: Config) -> None:
    """Keep what the run of these settings opens: the user began it here."""
    named = named_by(config)
    mine = [value for option, values in named.items() for value in values if not _is_known(option, value)]
    own_paths.keep([*mine, *_large_sizes(config).values()])


def _large_sizes(config: Config) -> dict[str, str]:
    """Full name -> NAME=VALUE of the sizes of a mini suite that are larger than in every preset."""
    if config.data.path is not None:
        return {}
    sizes = {name: getattr(config.data, name) for name in SIZES}
    most = {name: max(getattr(known.data, name) for known in presets().values()) for name in SIZES}
    return {f"data.{name}": f"data.{name}={size}" for name, size in sizes.items() if size > most[name]}


def _check_sizes(run: Path, config: Config, given: Collection[str]) -> None:
    """DrakeError for a mini suite that only the run folder makes large: building it takes hours and fills the disk."""
    if large := {name: pair for name, pair in _large_sizes(config).items() if name not in given}:
        mine = own_paths.kept()
        for pair in large.values():
            if pair not in mine:
                raise DrakeError(
                    f"{shown(run)} asks for a mini suite with {pair}, more than in any preset, and no run on this "
                    f"machine was begun with that, so it is not built; if you want it, begin a run with --set {pair}."
                )


def _is_known(option: str, value: str) -> bool:
    if option == "models":
        return value in catalog.models() or value in embedded()
    return option == "public" and value == SUITE


def _lies_in(run: Path, value: str) -> bool:
    _, _, place = value.rpartition(":")
    return Path(place).expanduser().resolve().is_relative_to(run.resolve())
