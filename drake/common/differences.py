"""Differences of two configs as text, for `drake diff` and for errors about a run that cannot be continued."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from textwrap import shorten
from typing import Any


def setting_differences(a: Any, b: Any, where: str = "", between: str = ", ") -> Iterator[str]:
    """A text such as "numbers.training.steps (8, 4)" for every value that differs between two configs.

    where: path of the values compared, empty at the top. between: separates the two values.
    """
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in sorted(a.keys() | b.keys()):
            yield from setting_differences(a.get(key), b.get(key), f"{where}.{key}" if where else key, between)
    elif a != b:
        yield f"{where} ({_short(a)}{between}{_short(b)})"


def _short(value: Any) -> str:
    return shorten(json.dumps(value), 40, placeholder=" ...")
