"""A method's own hyperparameters, read by the types of its `Options` dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_type_hints

from drake.config.values import read
from drake.errors import DrakeError, UnknownName

if TYPE_CHECKING:
    from drake.federation.method import Method


def options_of(method: type[Method], given: Mapping[str, Any], where: Mapping[str, str] | None = None) -> Any:
    """An instance of the method's `Options`: the defaults, what the method's preset `given["preset"]` changes, and the
    other values in `given`, typed or as text. where: how a sentence names the place of a value, by option.

    Raises UnknownName or DrakeError for an option or a preset that does not exist and a value that does not fit.
    """
    rest: dict[str, Any] = dict(given)
    known: dict[str, Mapping[str, Any]] = {"drake": {}, **method.presets}
    preset = rest.pop("preset", "drake")
    if preset not in known:
        raise UnknownName("preset of this method", str(preset), list(known))
    return parse_options(method.Options, dict(known[preset]) | rest, where)


def parse_options(options: type, given: Mapping[str, Any], where: Mapping[str, str] | None = None) -> Any:
    """An instance of the dataclass `options` with the fields in `given` replaced, each value read by the field's type.
    UnknownName or DrakeError for an unknown field and a value that does not fit."""
    known, hints, places = {f.name: f for f in fields(options)}, get_type_hints(options), where or {}
    values = {}
    for name, value in given.items():
        place = places.get(name, f"option {name}")
        if name not in known:
            unknown = UnknownName("option", name, list(known) or ["none: this method has no options"])
            raise DrakeError(f"{place}: {unknown}") if name in places else unknown
        values[name] = read(hints[name], value, place)
    return options(**values)
