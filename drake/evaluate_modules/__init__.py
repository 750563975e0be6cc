"""The benchmark's scores as modules of the library `evaluate`; `evaluate_module` says where they lie.

Each is a folder with a script of the same name, as `evaluate.load(path)` reads it, without a network.
"""

from __future__ import annotations

from pathlib import Path

from drake.errors import DrakeError

_HERE = Path(__file__).parent


def evaluate_module(name: str) -> str:
    """The path of an `evaluate` module: drake_strict, drake_token_f1 or drake_a_last.

    Raises DrakeError for another name.

    >>> import evaluate
    >>> evaluate.load(evaluate_module("drake_strict")).compute(
    ...     predictions=["B"], references=["B"], choices=[["A", "B"]]
    ... )
    {'accuracy': 1.0}
    """
    known = sorted(folder.name for folder in _HERE.glob("drake_*"))
    if name not in known:
        raise DrakeError(f"there is no evaluate module {name!r}; there are {', '.join(known)}.")
    return str(_HERE / name)
