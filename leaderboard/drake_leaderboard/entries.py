"""What is ranked: the rows of complete runs and of published results, and the tracks they belong to.

A track holds what may be compared: the same benchmark (for runs: the same data, bit for bit), schedule, backbones,
preset and moment of evaluation. Published results have tracks of their own, marked as published: their answers are
not available.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any, NamedTuple

from drake.data.fingerprints import current_fingerprint
from drake.federation.participation import EVERYONE
from drake.results import Estimate, Results

UNKNOWN = Estimate(mean=None, stderr=None, n=0)
SCORES = {
    "self_last": "Self A_last",
    "self_auc": "Self A_AUC",
    "others_last": "Others A_last",
    "others_auc": "Others A_AUC",
}
"""Field of SeedSummary -> heading, in the order of the columns."""


class Track(NamedTuple):
    """What a table holds: results that may be compared.

    benchmark: where the samples come from. fingerprint: of the data, "" for published results.
    split: the schedule. models: the backbones and their assignment. preset: of the numbers; "" where published.
    numbers: digest of the preset's numbers as they were used, so that a changed preset is a track of its own.
    evaluate_at: whether clients answered after local training ("trained") or after the aggregation ("aggregated"); ""
    where published. heading: what the source calls a published table; "" for runs.
    """

    published: bool
    benchmark: str
    split: str
    models: str
    preset: str
    fingerprint: str
    numbers: str = ""
    evaluate_at: str = ""
    heading: str = ""

    @property
    def title(self) -> str:
        """One line that tells this track from every other; data are named by eight digits of their fingerprint."""
        if self.published:
            return f"{self.heading} · as published"
        preset = f"preset {self.preset} ({self.numbers})"
        evaluated = f"evaluated {self.evaluate_at}"
        return " · ".join((self.benchmark, self.split, self.models, preset, evaluated, f"data {self.fingerprint[:8]}"))


@dataclass(frozen=True)
class Row:
    """One line of a table.

    scores: field of SeedSummary -> official score, a fraction. upload: bytes a client sends per round.
    minutes: wall-clock of one seed, training and evaluation. flops: operations of one seed's training, None where they
    are not known of every seed. origin: folder name, or the citation when published.
    """

    track: Track
    method: str
    reference: str
    scores: Mapping[str, Estimate]
    strict_self_last: Estimate
    seeds: int
    upload: float | None
    minutes: float | None
    flops: float | None
    origin: str


def row(results: Results, origin: str) -> Row:
    """The line of a complete run."""
    models = " + ".join(results.models.names)
    if results.models.assignment not in (models, *results.models.names):
        models += f" ({results.models.assignment})"
    runs, clients = results.runs, len(results.clients)
    flops = [run.flops for run in runs if run.flops is not None]
    rounds = sum(len(run.train_loss) for run in runs)
    sent = sum(message.bytes for run in runs for message in run.traffic if message.direction == "up")
    return Row(
        track=Track(
            published=False,
            benchmark=results.data.name,
            split=results.data.split,
            models=models,
            preset=results.preset,
            fingerprint=current_fingerprint(results.data.fingerprint),
            numbers=_digest(results.config),
            evaluate_at=results.evaluate_at,
        ),
        method=results.method.name,
        reference=results.method.reference,
        scores={name: results.summary["official"].get(name, UNKNOWN) for name in SCORES},
        strict_self_last=results.summary["strict"].get("self_last", UNKNOWN),
        seeds=len(runs),
        upload=sent / (clients * rounds) if clients * rounds else None,
        minutes=sum(run.seconds_train + run.seconds_eval for run in runs) / 60 / len(runs) if runs else None,
        flops=sum(flops) / len(runs) if runs and len(flops) == len(runs) else None,
        origin=origin,
    )


def published_rows() -> list[Row]:
    """The rows of published.toml beside this module, percent turned into fractions.

    Only what the source gives as a table of Self and Others; A_AUC, bytes and minutes were not published.
    """
    data = tomllib.loads((files("drake_leaderboard") / "published.toml").read_text(encoding="utf-8"))
    rows: list[Row] = []
    for table in data["table"]:
        track = Track(
            published=True,
            benchmark=table["benchmark"],
            split=table.get("split", ""),
            models=" + ".join(table.get("models", [])),
            preset="",
            fingerprint="",
            heading=table["title"],
        )
        for line in table["row"]:
            scores = dict.fromkeys(SCORES, UNKNOWN) | {
                f"{side}_last": _published(line.get(side), line.get(f"{side}_standard_error"))
                for side in ("self", "others")
            }
            rows.append(Row(track, line["method"], data["source"], scores, UNKNOWN, 0, None, None, None, "published"))
    return rows


def _published(percent: float | None, error: float | None) -> Estimate:
    return Estimate(
        mean=None if percent is None else percent / 100,
        stderr=None if error is None else error / 100,
        n=0,  # the number of seeds is not in the tables
    )


def _digest(config: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits over what makes scores comparable and no other part of a track says."""
    decisive = {key: config.get(key) for key in ("numbers", "eval_records", "alpha", "evaluation_rounds")}
    sample = {"eval_records_others": None, "eval_sample": "first"}  # what files that do not mention them stand for
    decisive |= {key: config[key] for key, usual in sample.items() if config.get(key, usual) != usual}
    attendance = config.get("attendance", asdict(EVERYONE))
    if attendance != asdict(EVERYONE):  # full participation, also in files that do not mention it, adds nothing
        decisive["attendance"] = attendance
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:8]
