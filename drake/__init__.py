"""DRAKE: a benchmark for personalised federated learning of vision-language models.

`drake.load` opens a built dataset. Importing this package imports nothing else, so that the command line
starts fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drake.data.benchmark import Benchmark as Benchmark
    from drake.data.benchmark import load as load

__version__ = "0.1.0"
__all__ = ["Benchmark", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name in ("Benchmark", "load"):
        from drake.data import benchmark

        return getattr(benchmark, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
