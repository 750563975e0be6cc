"""Names of version 0.1 that go with version 0.3: `Settings(...)` is `drake.config.configure(...)` now."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from drake.config import Config, configure
from drake.federation.participation import EVERYONE, Participation
from drake.runs.device import DTYPES, resolve_device

__all__ = ["DTYPES", "Settings", "resolve_device"]


def Settings(
    method: str,
    preset: Config,
    models: Sequence[str] = (),
    data: str | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    attendance: Participation = EVERYONE,
    device: str = "cpu",
    **rest: Any,
) -> Config:
    """A Config of what `Settings` took. DeprecationWarning."""
    warnings.warn(
        "drake.runs.Settings goes with version 0.3; use drake.config.configure.", DeprecationWarning, stacklevel=2
    )
    table = preset.as_dict()
    name = table.pop("preset")
    table.pop("method")  # empty: a preset names none
    given = {key: value for key, value in rest.items() if value is not None} | {"device": device}
    given |= {"models": list(models)} if models else {}
    given |= {"data.path": data} if data is not None else {}
    who = {
        "participation": attendance.participation,
        "client_dropout": attendance.dropout,
        "deadline": attendance.deadline,
    }
    own: dict[str, Any] = {method: dict(options)} if options else {}
    return configure(method, name, **table, **own).with_(**given, **who)
