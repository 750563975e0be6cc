"""Results of older schema versions, turned into the current one. Called by `drake.results.files.load` only.

A step takes the content of a file of version n and returns that of version n + 1. It assumes nothing about the content
beyond the keys that it changes: malformed content is left as it is, and validation reports it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from drake.results.schema import SCHEMA_VERSION

Json = dict[str, object]


def migrated(content: Json) -> Json:
    """The content of a results file of any earlier version as the current version has it; the argument is unchanged."""
    version = content["schema_version"]
    while isinstance(version, int) and version < SCHEMA_VERSION:
        version += 1
        content = STEPS[version](content) | {"schema_version": version}
    return content


def _to_2(content: Json) -> Json:
    """Keys that files of version 1 could lack are explicit, `seconds_mix` is called `seconds_aggregation`, and
    `evaluate_at` is new: runs of version 1 were always evaluated after the aggregation."""
    content = content | {"evaluate_at": "aggregated"}
    if isinstance(environment := content.get("environment"), dict):
        environment = cast("Json", environment)
        if isinstance(machine := environment.get("machine"), dict):
            machine = {"processes": 1} | cast("Json", machine)
            content["environment"] = environment | {"machine": machine}
    if isinstance(runs := content.get("runs"), list):
        content["runs"] = [_run_to_2(run) for run in cast("list[object]", runs)]
    return content


def _run_to_2(run: object) -> object:
    if not isinstance(run, dict):
        return run
    found: Json = {"flops": None, "relevance": None, "aggregated": None} | cast("Json", run)
    found["seconds_aggregation"] = found.pop("seconds_mix", None)
    return found


STEPS: dict[int, Callable[[Json], Json]] = {2: _to_2}
"""Version -> the step that leads to it from the version before."""
