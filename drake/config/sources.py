"""Where settings come from: a preset, a file, options of the command line, `--set`, keyword arguments. Every source
becomes the same thing: full names of settings and of the method's options, each with its value and its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

from drake.common.files import read_toml_table
from drake.config.schema import FLAGS, GROUPS, known_settings
from drake.errors import DrakeError, UnknownName
from drake.federation import registry

RUN_FILE = "config.toml"
"""The configuration file of a run folder."""


class Given(NamedTuple):
    """A value as it was given, and how a sentence names its place: "--rank", "training.rank in my.toml"."""

    value: Any
    where: str


@dataclass(frozen=True)
class Source:
    """The settings that one source gives. settings: by full name. options: of methods, by method and name. may_import:
    whether it may name a method by "module:Class", which imports the module: files may not."""

    settings: Mapping[str, Given] = field(default_factory=dict[str, Given])
    options: Mapping[str, Mapping[str, Given]] = field(default_factory=dict[str, Mapping[str, Given]])
    may_import: bool = False


@cache
def preset_tables() -> dict[str, dict[str, Any]]:
    """Every preset as a configuration file has it, by name."""
    import tomllib
    from importlib.resources import files

    return tomllib.loads((files("drake.config") / "presets.toml").read_text())


def from_preset(name: str) -> Source:
    """UnknownName where there is no such preset."""
    if name not in preset_tables():
        raise UnknownName("preset", name, list(preset_tables()))
    return _source(preset_tables()[name], lambda setting: f"{setting} of the preset {name}")


def from_benchmark(name: str, preset: str) -> list[Source]:
    """What a benchmark changes in a preset: for all of them first. UnknownName where there is no such benchmark."""
    from drake.catalog import benchmark

    tables = benchmark(name).settings
    return [
        _source(tables[part], lambda setting: f"{setting} of the benchmark {name}")
        for part in ("all", preset)
        if part in tables
    ]


def from_file(path: Path) -> Source:
    """DrakeError for a file that cannot be read, is no TOML, or holds what no setting is called."""
    return _source(read_toml_table(path), lambda setting: f"{setting} in {path}")


def from_flags(flags: Mapping[str, Any]) -> Source:
    """Options of the command line by their names in Python; those that are None were not given."""
    given = {FLAGS.get(name, name): (value, name) for name, value in flags.items() if value is not None}
    settings = {full: Given(value, f"--{name.replace('_', '-')}") for full, (value, name) in given.items()}
    return Source(settings, may_import=True)


def from_keywords(settings: Mapping[str, Any]) -> Source:
    """Keyword arguments of `drake.evaluate`: the names of options of the command line (`rank=16`), full names
    (`{"training.rank": 16}`), or a mapping for each group (`training={"rank": 16}`)."""
    table: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and name in GROUPS:
            table.update({f"{name}.{inner}": one for inner, one in cast("Mapping[str, Any]", value).items()})
        else:
            table[FLAGS.get(name, name)] = value
    found = _source(table, str)
    return Source(found.settings, found.options, may_import=True)


def from_pairs(pairs: Sequence[str], method: str | None) -> Source:
    """`--set` on the command line: ["training.rank=16", "ditto.penalty=0.1"]. A name without a dot that is no setting
    is an option of the method. DrakeError for another shape, an unknown setting and another method's option."""
    settings: dict[str, Given] = {}
    options: dict[str, dict[str, Given]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        owner, dot, inner = name.rpartition(".")
        given = Given(value, f"--set {name}")
        if not equals or not inner:
            raise DrakeError(f"--set {pair!r} is not of the form NAME=VALUE, such as training.rank=16.")
        if name == "preset" and method is not None and value not in preset_tables():
            raise DrakeError(f"--set {pair!r} names no preset of runs; for one of the method: --set {method}.{pair}.")
        if name in known_settings():
            settings[name] = given
        elif method is not None and (not dot or owner == method):
            options.setdefault(method, {})[inner] = given
        elif ":" in owner or registry.is_name(owner):
            raise DrakeError(f"--set {pair!r} is an option of {owner!r}, but the method is {method!r}.")
        else:
            raise unknown_setting(name, f"--set {pair!r}")
    return Source(settings, options, may_import=True)


def _source(table: Mapping[str, Any], where: Callable[[str], str]) -> Source:
    settings: dict[str, Given] = {}
    options: dict[str, dict[str, Given]] = {}
    for name, value in _full_names(table):
        owner, _, inner = name.rpartition(".")
        if name in known_settings():
            settings[name] = Given(value, where(name))
        elif inner and (":" in owner or registry.is_name(owner)):
            options.setdefault(owner, {})[inner] = Given(value, where(name))
        else:
            raise unknown_setting(name, where(name))
    return Source(settings, options)


def _full_names(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping) and name not in known_settings():
            yield from ((f"{name}.{inner}", one) for inner, one in cast("Mapping[str, Any]", value).items())
        else:
            yield name, value


def unknown_setting(name: str, where: str) -> DrakeError:
    """What is wrong with a name that no setting has, with the nearest that there is."""
    place = f" ({where})" if where != name else ""
    near = _nearest(name)
    hint = f"did you mean {near!r}?" if near else "docs/configuration.md lists them all."
    return DrakeError(f"unknown setting {name!r}{place}; {hint}")


def _nearest(name: str) -> str | None:
    """The setting of the same last name, or that of the most similar name; for an option the most similar method."""
    from difflib import get_close_matches

    known = list(known_settings())
    owner, dot, last = name.rpartition(".")
    alike = [full for full in known if full.rpartition(".")[2] == last] or [FLAGS[last] for _ in "." if last in FLAGS]
    methods = get_close_matches(owner, registry.names(), n=1, cutoff=0.7) if dot and owner not in GROUPS else []
    near = alike or [f"{method}.{last}" for method in methods] or get_close_matches(name, known, n=1, cutoff=0.5)
    return near[0] if near else None


def check_method_name(given: Given, may_import: bool) -> None:
    """UnknownName for a method that nobody registered. DrakeError for "module:Class" from a source that may not name
    one: what stands in a file must not decide what is imported."""
    registry.check(given.value)
    if ":" in given.value and not may_import:
        raise DrakeError(
            f"{given.where} is {given.value!r}, and code is not imported because a file names it; if you trust that "
            f"code, name it yourself, with --method {given.value}."
        )
