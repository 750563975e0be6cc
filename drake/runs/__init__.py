"""`drake eval`: a configuration -> a trained and scored federation in a run folder. `drake.evaluate` and the command
line call this.

api.py         `drake.evaluate`
setup.py       configuration -> data, backbones, clients, plan; everything is checked before anything is computed
folder.py      the run folder: who owns it, what stands where
engines.py     where the work is done, by name
reporting.py   what a run tells while it runs, and who listens
evaluation.py  answers at evaluation points -> predictions -> scores
run.py         all seeds, from the first round to results.json
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drake.runs.run import evaluate
    from drake.runs.setup import Setup

__all__ = ["Setup", "evaluate"]

_FOUND_IN = {"Setup": "drake.runs.setup", "evaluate": "drake.runs.run", "Settings": "drake.runs.request"}
"""Loaded at first use, since they need PyTorch. Settings: the name of version 0.1 for what `configure` makes."""


def __getattr__(name: str) -> Any:
    if name not in _FOUND_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_FOUND_IN[name]), name)
