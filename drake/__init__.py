"""DRAKE: a benchmark for personalised federated learning of vision-language models.

Importing this package is fast: every public name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from drake import _moved

if TYPE_CHECKING:
    from drake.data.benchmark import Benchmark as Benchmark
    from drake.data.benchmark import load as load
    from drake.data.building import build as build
    from drake.data.sources.base import Source as Source
    from drake.errors import DrakeError as DrakeError
    from drake.evaluate_modules import evaluate_module as evaluate_module
    from drake.federation.method import Method as Method
    from drake.results.rescoring import score as score
    from drake.results.result_set import ResultSet as ResultSet
    from drake.results.result_set import load_results as load_results
    from drake.results.schema import Results as Results
    from drake.runs.api import evaluate as evaluate

__version__ = "0.2.0"

_PUBLIC = {
    "Benchmark": "drake.data.benchmark",
    "DrakeError": "drake.errors",
    "Method": "drake.federation.method",
    "ResultSet": "drake.results.result_set",
    "Results": "drake.results.schema",
    "Source": "drake.data.sources.base",
    "build": "drake.data.building",
    "evaluate": "drake.runs.api",
    "evaluate_module": "drake.evaluate_modules",
    "load": "drake.data.benchmark",
    "load_results": "drake.results.result_set",
    "score": "drake.results.rescoring",
}
"""Public name -> the module that defines it."""

__all__ = [
    "Benchmark",
    "DrakeError",
    "Method",
    "ResultSet",
    "Results",
    "Source",
    "__version__",
    "build",
    "evaluate",
    "evaluate_module",
    "load",
    "load_results",
    "score",
]

_moved.install()


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
