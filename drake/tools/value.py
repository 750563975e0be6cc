"""`drake value`: what every client of a run gains from the others, and what its presence gives them.

The run is repeated from its own settings, without each client in turn and with each client alone. With a_i the score of
client i on its own tasks after the last round (official protocol):

    presence[k, i] = a_i(all clients) - a_i(all but k)        what client k gives to client i
    given[k]       = mean over i != k of presence[k, i]       what the presence of client k gives to the others
    gained[i]      = a_i(all clients) - a_i(client i alone)   what the presence of the others gives to client i

The repeated runs are ordinary run folders, so a stopped command continues with what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from drake.common.files import replacing
from drake.config import Config
from drake.errors import DrakeError
from drake.results import Results

FILE = "value.json"

Score = Callable[[str, Config], Results]
"""(name of the repetition, its configuration) -> its results."""


@dataclass(frozen=True)
class Interval:
    """A mean over seeds in points of 100, and half the width of its 95% confidence interval by Student's t; None with
    fewer than three seeds."""

    mean: float
    half: float | None


@dataclass(frozen=True)
class Value:
    """presence [seeds, N, N]: what client k (row) gives to client i (column), NaN on the diagonal. gained [seeds, N].
    Both in points of 100."""

    seeds: tuple[int, ...]
    presence: NDArray[np.float64]
    gained: NDArray[np.float64]

    @property
    def given(self) -> NDArray[np.float64]:
        """[seeds, N]: the mean of `presence` over the other clients."""
        return np.nanmean(self.presence, axis=2)


def client_value(run: Results, config: Config, score: Score) -> Value:
    """Repeat the run without each of its clients and with each alone.

    config: what the run was made with. score: makes one repetition. Raises DrakeError for a run that is not complete,
    in which some clients never take part, or with one client alone.
    """
    clients = len(run.clients)
    if run.status != "complete":
        raise DrakeError("the run is not complete; finish it by drake eval --resume, then ask for its clients' value.")
    if config.participation.absent or clients < 2:
        raise DrakeError("the run has clients that never take part, or only one; name a run in which all take part.")
    last = config.with_(
        **{
            "evaluation.every": run.runs[0].rounds[-1],
            "evaluation.records_others": 1,  # only a client's own tasks count here
            "evaluation.also_aggregated": False,
        }
    )

    def scores(name: str, absent: Sequence[int]) -> NDArray[np.float64]:
        return own_scores(score(name, last.with_(**{"participation.absent": tuple(absent)})))

    everyone = range(clients)
    together = own_scores(run)
    without = np.stack([scores(f"without-{k}", [k]) for k in everyone], axis=1)  # [seeds, k, i]
    alone = np.stack([scores(f"alone-{i}", [k for k in everyone if k != i])[:, i] for i in everyone], axis=1)
    presence = together[:, None, :] - without
    presence[:, everyone, everyone] = np.nan
    return Value(tuple(seed.seed for seed in run.runs), presence, together - alone)


def own_scores(run: Results) -> NDArray[np.float64]:
    """[seeds, N]: each client's mean over its own tasks at the last point, in points of 100, by the official
    protocol."""
    return 100 * np.array([seed.summary["official"].clients_last for seed in run.runs], dtype=np.float64)


def interval(values: NDArray[np.float64]) -> Interval:
    """Of one number per seed."""
    mean = float(values.mean())
    if len(values) < 3:
        return Interval(mean, None)
    return Interval(mean, float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)))


def store(value: Value, path: Path) -> None:
    """All numbers as JSON, NaN as null."""
    found = {
        "unit": "points of 100, official protocol",
        "seeds": list(value.seeds),
        "presence": _plain(value.presence),
        "given": _plain(value.given),
        "gained": _plain(value.gained),
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")


def _plain(array: NDArray[np.float64]) -> list[Any]:
    found = array.astype(object)
    found[np.isnan(array)] = None
    return list(found.tolist())
