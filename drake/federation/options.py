"""A method's own hyperparameters, read from text by the types of a dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from drake.errors import DrakeError, UnknownName


def parse_options(options: type, given: Mapping[str, str]) -> Any:
    """An instance of the dataclass `options` with the fields in `given` replaced, each value read by the type of the
    field's default, or one of a Literal's. DrakeError for an unknown field or a value that does not fit."""
    known, hints = {f.name: f for f in fields(options)}, get_type_hints(options)
    values: dict[str, Any] = {}
    for name, text in given.items():
        if name not in known:
            raise UnknownName("option", name, list(known) or ["none: this method has no options"])
        if get_origin(hints[name]) is Literal:
            if text not in get_args(hints[name]):
                raise UnknownName(f"value of {name}", text, list(get_args(hints[name])))
            values[name] = text
            continue
        kind = type(known[name].default)
        try:
            values[name] = _BOOLEANS[text.lower()] if kind is bool else kind(text)
        except (KeyError, ValueError):
            raise DrakeError(f"option {name}={text!r}: a value of type {kind.__name__} is expected.") from None
    return options(**values)


_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
