"""Sources of settings -> one `Config`, read and checked once: preset < file < options of the command line < --set."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drake.config.options import options_of
from drake.config.schema import GROUPS, Config, known_settings
from drake.config.sources import (
    Given,
    Source,
    check_method_name,
    from_benchmark,
    from_file,
    from_flags,
    from_keywords,
    from_pairs,
    from_preset,
    preset_tables,
)
from drake.config.values import read
from drake.errors import DrakeError

if TYPE_CHECKING:
    from drake.federation.method import Method

DEFAULT_PRESET = "mini"


def configure(
    method: str | type[Method] | None = None,
    preset: str | None = None,
    *,
    file: Path | str | None = None,
    **settings: Any,
) -> Config:
    """The configuration of a run, from Python.

    settings: named as the options of `drake eval` (`seeds=[0, 1]`, `rank=16`), by full name
    (`**{"training.rank": 16}`), as a mapping for each group (`training={"rank": 16}`), and the method's own options
    under its name (`ditto={"penalty": 0.1}`). file: a configuration file that the settings change.
    Raises DrakeError for an unknown name and a value that no run can have.
    """
    name = f"{method.__module__}:{method.__qualname__}" if isinstance(method, type) else method
    own = {key: value for key, value in (("method", name), ("preset", preset)) if value is not None}
    source = from_keywords(own | settings)
    return _resolved([*([] if file is None else [from_file(Path(file))]), source])


def resolve(file: Path | None = None, flags: Mapping[str, Any] | None = None, pairs: Sequence[str] = ()) -> Config:
    """The configuration of a run, from a command line. flags: options by their names in Python, None where one was not
    given. pairs: what `--set` was given, as text. Raises DrakeError as `configure` does."""
    sources = [*([] if file is None else [from_file(file)]), from_flags(flags or {})]
    named = [read(str, *source.settings["method"]) for source in sources if "method" in source.settings]
    named += [pair.partition("=")[2] for pair in pairs if pair.startswith("method=")]
    return _resolved([*sources, from_pairs(pairs, named[-1] if named else None)])


@cache
def preset(name: str) -> Config:
    """The preset called `name`, without a method; UnknownName otherwise."""
    return configure(preset=name)


def presets() -> dict[str, Config]:
    """All presets by name."""
    return {name: preset(name) for name in preset_tables()}


def changed(config: Config, settings: Mapping[str, Any]) -> Config:
    """`Config.with_`."""
    source = from_keywords(settings)
    if source.options or source.settings.keys() & {"method", "preset", "data.benchmark"}:
        raise DrakeError(
            "the method, its options, the preset and the benchmark are chosen when a Config is made; use configure."
        )
    return _checked(_fewer_of_others(_apply(config, _values(source.settings)), source.settings))


def _resolved(sources: list[Source]) -> Config:
    named = [source.settings["preset"] for source in sources if "preset" in source.settings]
    name = read(str, *named[-1]) if named else DEFAULT_PRESET
    from_the_preset = from_preset(name)
    given = {"preset": Given(name, "--preset")} | dict(from_the_preset.settings)
    for source in [*_of_benchmark(sources, name), *sources]:
        if "rounds_per_task" in source.settings and "rounds" not in source.settings:
            given.pop("rounds", None)  # which would win over it
        given |= source.settings
    values = _values(given)
    for full, known in known_settings().items():
        if full not in values and full != "method":
            values[full] = known.default
    chosen = {name for source in sources for name in source.settings}
    config = _checked(_fewer_of_others(_apply(None, {"method": ""} | values), chosen))
    if not config.method:
        return config
    _check_method(sources)
    options = _options(config.method, [from_the_preset, *sources])
    return replace(config, method_options=asdict(options))


def _of_benchmark(sources: Sequence[Source], preset: str) -> list[Source]:
    """What the benchmark that the last of the sources names changes in the preset."""
    named = [source.settings["data.benchmark"] for source in sources if "data.benchmark" in source.settings]
    return from_benchmark(read(str, *named[-1]), preset) if named else []


def _values(given: Mapping[str, Given]) -> dict[str, Any]:
    known = known_settings()
    return {full: read(known[full].kind, one.value, one.where, known[full].setting) for full, one in given.items()}


def _apply(config: Config | None, values: Mapping[str, Any]) -> Config:
    """`config` with the values, by full name; a new one where there is none and every value is given."""
    plain = {full: value for full, value in values.items() if "." not in full}
    groups: dict[str, dict[str, Any]] = {}
    for full, value in values.items():
        group, dot, inner = full.partition(".")
        if dot:
            groups.setdefault(group, {})[inner] = value
    if config is None:
        return Config(**plain, **{name: GROUPS[name](**inner) for name, inner in groups.items()})
    parts = {name: replace(getattr(config, name), **inner) for name, inner in groups.items()}
    rounds = {"rounds": None} if "rounds_per_task" in plain and "rounds" not in plain else {}
    return replace(config, **rounds | plain, **parts)


def _fewer_of_others(config: Config, chosen: Container[str]) -> Config:
    """A number of records for the tasks of others that nobody chose, but a preset, gives way to fewer records of a
    client's own: then they are as many. chosen: full names of the settings that were."""
    records, others = config.evaluation.records, config.evaluation.records_others
    if others is None or "evaluation.records_others" in chosen or not records or others <= records:
        return config
    return replace(config, evaluation=replace(config.evaluation, records_others=None))


def _checked(config: Config) -> Config:
    """What no single value shows. DrakeError for names that do not exist and settings that contradict each other."""
    from drake import catalog  # here: a command without models needs no catalog

    catalog.assign(config.models)
    execution = config.execution
    if execution.engine in ("auto", "serial") and execution.workers is not None:
        raise DrakeError("--workers is for --engine processes and ray; add one or leave it out.")
    if execution.engine != "ray" and execution.gpu_share:
        raise DrakeError("--gpu-share is for --engine ray; add it or leave it out.")
    records, others = config.evaluation.records, config.evaluation.records_others
    if others is not None and records and others > records:
        raise DrakeError(
            f"--eval-records-others is {others}; it must be at most --eval-records, which is {records}: the sample for "
            "other clients is a part of that for a task's own client."
        )
    if config.evaluation.also_aggregated and config.evaluation.at == "aggregated":
        raise DrakeError("--also-aggregated is for --evaluate-at trained; add it or leave --also-aggregated out.")
    return config


def _check_method(sources: Sequence[Source]) -> None:
    strongest = [source for source in sources if "method" in source.settings][-1]
    check_method_name(strongest.settings["method"], strongest.may_import)


def _options(name: str, sources: Sequence[Source]) -> Any:
    """The options of the method, from the preset's to those of --set. A preset of the method that a stronger source
    names replaces what weaker ones say, but for what DRAKE's own preset does."""
    from drake.federation import registry

    first = dict(sources[0].options.get(name, {}))
    merged = dict(first)
    for source in sources[1:]:
        mine = source.options.get(name, {})
        merged = (first if "preset" in mine else merged) | dict(mine)
    values, where = {key: one.value for key, one in merged.items()}, {key: one.where for key, one in merged.items()}
    return options_of(registry.find(name), values, where)


def required(config: Config) -> Config:
    """The same; DrakeError where it names no method."""
    if not config.method:
        raise DrakeError("no method is named; add --method, such as --method sft.")
    return config
