"""The results of runs: their schema, files, averages, data frames, re-scoring and pictures.

`schema` documents every key of `results.json`; `files` reads and writes it, with `migrations` for older files;
`summaries` averages scores; `result_set` and `frames` turn many runs into data frames; `rescoring` computes scores
again from the stored answers; `dataset` opens the data of a run; `plots` draws. Importing this package loads none of
them: every public name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drake.results.files import FILE as FILE
    from drake.results.files import load as load
    from drake.results.files import run_folders as run_folders
    from drake.results.files import save as save
    from drake.results.rescoring import Rescored as Rescored
    from drake.results.rescoring import rescore as rescore
    from drake.results.rescoring import score as score
    from drake.results.rescoring import verify as verify
    from drake.results.result_set import ResultSet as ResultSet
    from drake.results.result_set import load_results as load_results
    from drake.results.schema import SCALARS as SCALARS
    from drake.results.schema import SCHEMA_VERSION as SCHEMA_VERSION
    from drake.results.schema import ClientInfo as ClientInfo
    from drake.results.schema import DataInfo as DataInfo
    from drake.results.schema import Environment as Environment
    from drake.results.schema import Estimate as Estimate
    from drake.results.schema import EvaluateAt as EvaluateAt
    from drake.results.schema import Machine as Machine
    from drake.results.schema import MethodInfo as MethodInfo
    from drake.results.schema import ModelsInfo as ModelsInfo
    from drake.results.schema import Results as Results
    from drake.results.schema import ScoreMatrix as ScoreMatrix
    from drake.results.schema import SecondScores as SecondScores
    from drake.results.schema import SeedRun as SeedRun
    from drake.results.schema import SeedSummary as SeedSummary
    from drake.results.schema import Traffic as Traffic
    from drake.results.summaries import ScoreTable as ScoreTable
    from drake.results.summaries import aggregate as aggregate
    from drake.results.summaries import estimate as estimate
    from drake.results.summaries import score_table as score_table
    from drake.results.summaries import seed_summary as seed_summary

_PUBLIC = {
    "files": ("FILE", "load", "run_folders", "save"),
    "rescoring": ("Rescored", "rescore", "score", "verify"),
    "result_set": ("ResultSet", "load_results"),
    "schema": (
        "SCALARS",
        "SCHEMA_VERSION",
        "ClientInfo",
        "DataInfo",
        "Environment",
        "Estimate",
        "EvaluateAt",
        "Machine",
        "MethodInfo",
        "ModelsInfo",
        "Results",
        "ScoreMatrix",
        "SecondScores",
        "SeedRun",
        "SeedSummary",
        "Traffic",
    ),
    "summaries": ("ScoreTable", "aggregate", "estimate", "score_table", "seed_summary"),
}
"""Module of this package -> the public names that it defines."""

_MODULES = {name: f"drake.results.{module}" for module, names in _PUBLIC.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
