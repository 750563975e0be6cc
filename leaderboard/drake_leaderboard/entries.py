"""The entries of the leaderboard: rows of complete runs and of published results, and the tracks they belong to.

Results are comparable, and share a track, where they have the same benchmark (for runs: the same data, bit for bit),
schedule, backbones, preset, hyperparameters of training and evaluation, and moment of evaluation. Published results
have separate tracks, because their answers are not available.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from drake.config.schema import OF_BACKBONES
from drake.data.fingerprints import current_fingerprint
from drake.federation.participation import EVERYONE
from drake.results import Estimate, Results, SeedRun, estimate
from drake.results.gains import Share, worst_client

from .names import display_name, plain_models
from .reviewed import PUBLISHED, UNCHECKED

if TYPE_CHECKING:
    from drake.results.comparison import Difference

UNKNOWN = Estimate(mean=None, stderr=None, n=0)
SCORES = {
    "self_last": "Self A_last",
    "self_auc": "Self A_AUC",
    "others_last": "Others A_last",
    "others_auc": "Others A_AUC",
}
"""Field of SeedSummary -> heading, in the order of the columns."""


class Track(NamedTuple):
    """The settings that all results of one table share.

    benchmark: where the samples come from. fingerprint: of the data, "" for published results.
    split: the schedule. models: the backbones and their assignment. preset: of the numbers; "" where published.
    numbers: digest of the settings as they were used, so that a run with a changed setting is in a separate track.
    evaluate_at: whether clients answered after local training ("trained") or after the aggregation ("aggregated"); ""
    where published. heading: the title of a published table; "" for runs. number: from 2 on, of tracks that would have
    the title of another one; set by `numbered`.
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
    number: int = 1

    @property
    def title(self) -> str:
        """One line for readers, without digests: "DRAKE mini, dynamic, tiny-llama-s + tiny-llama-m, preset mini,
        evaluated after local training"."""
        if self.published:
            title = f"{self.heading}, as published"
        else:
            parts = (
                self.benchmark,
                self.split,
                plain_models(self.models),
                f"preset {self.preset}",
                MOMENTS[self.evaluate_at],
            )
            title = ", ".join(part for part in parts if part)
        return title if self.number == 1 else f"{title} ({self.number})"

    @property
    def details(self) -> str:
        """What tells tracks of one title apart: digests of the data and of the settings; "" for published results."""
        if self.published:
            return ""
        return f"Data {self.fingerprint[:16]}, settings {self.numbers}, backbones {self.models}."


MOMENTS = {"trained": "evaluated after local training", "aggregated": "evaluated after aggregation"}
"""`evaluate_at` of results -> how titles say it."""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    scores: field of SeedSummary -> official score, a fraction. by_seed: the same, seed by seed; empty for published
    results. upload: bytes a client sends per round.
    minutes: wall-clock of one seed, training and evaluation. flops: operations of one seed's training, None where a
    seed has no count. origin: folder name; "published" for published results. checked: how
    far it was checked (`reviewed.py`). name, authors, link: what a submission says of itself; empty for runs.
    folder, run: where the answers are, and the results without their scores, traffic and losses; None where published.
    clients: seed -> Self A_last of each client. worst: Self A_last of the worst client of each seed. aggregated: Self
    and Others A_last of what the server aggregated, where it was measured beside the main scores.

    The rest follows from the other rows of a track and from stored answers, and is filled in by `standing.py`. group:
    the letters of the tie groups. gain, better: against the track's SFT row, of Self A_last. weighted: Self A_last
    with every test answer counted once. pareto: whether no row is as good in bytes, FLOPs and Self A_last and better in
    one.
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
    by_seed: Mapping[str, Mapping[int, float]] = field(default_factory=dict[str, Mapping[int, float]])
    checked: str = UNCHECKED
    name: str = ""
    authors: tuple[str, ...] = ()
    link: str = ""
    folder: Path | None = None
    run: Results | None = field(default=None, repr=False)
    clients: Mapping[int, tuple[float | None, ...]] = field(default_factory=dict[int, tuple[float | None, ...]])
    worst: Estimate | None = None
    aggregated: Mapping[str, Estimate] = field(default_factory=dict[str, Estimate])
    group: str = ""
    gain: Difference | None = None
    better: Share | None = None
    weighted: Estimate | None = None
    pareto: bool | None = None

    @property
    def display_name(self) -> str:
        """The method as people write it."""
        return self.method if self.track.published else display_name(self.method)


def row(results: Results, origin: str, folder: Path | None = None) -> Row:
    """The line of a complete run. folder: where its answers are."""
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
            benchmark=results.data.name + _metrics(results.config),
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
        by_seed={
            name: {run.seed: score for run in runs if (score := getattr(run.summary["official"], name)) is not None}
            for name in SCORES
        },
        folder=folder,
        run=_without_bulk(results),
        clients={run.seed: tuple(run.summary["official"].clients_last) for run in runs},
        worst=estimate(worst_client(run.summary["official"].clients_last) for run in runs),
        aggregated=_aggregated(runs),
    )


def _aggregated(runs: list[SeedRun]) -> dict[str, Estimate]:
    found = [run.aggregated.summary["official"] for run in runs if run.aggregated is not None]
    if len(found) < len(runs):
        return {}
    return {name: estimate(getattr(seed, name) for seed in found) for name in ("self_last", "others_last")}


def _without_bulk(results: Results) -> Results:
    """What reading the answers needs; a board of hundreds of rows does not keep every matrix."""
    bulk = {"scores": {}, "summary": {}, "traffic": [], "train_loss": [], "zero_shot": None, "aggregated": None}
    runs = [run.model_copy(update={**bulk, "relevance": None}) for run in results.runs]
    return results.model_copy(update={"runs": runs})


def numbered(tracks: Iterable[Track]) -> dict[Track, Track]:
    """Every track, in the order given, -> the same with a number where its title is that of an earlier one."""
    seen: Counter[str] = Counter()
    found: dict[Track, Track] = {}
    for track in tracks:
        seen[track.title] += 1
        found[track] = track._replace(number=seen[track.title])
    return found


def _metrics(config: Mapping[str, Any]) -> str:
    """The metrics that averages span, as they stand in a track's title; "" for runs of DRAKE and for a single one."""
    named = config.get("metrics")
    if not isinstance(named, list) or len(named) < 2:
        return ""
    return f" (means over {', '.join(map(str, named))})"


def published_rows() -> list[Row]:
    """The rows of published.toml beside this module, as fractions. Published are tables of Self and Others A_last;
    A_AUC, bytes and minutes are unknown."""
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
            unknown = (UNKNOWN, 0, None, None, None)
            rows.append(Row(track, line["method"], data["source"], scores, *unknown, PUBLISHED, checked=PUBLISHED))
    return rows


def _published(percent: float | None, error: float | None) -> Estimate:
    return Estimate(
        mean=None if percent is None else percent / 100,
        stderr=None if error is None else error / 100,
        n=0,  # the number of seeds is not in the tables
    )


def _digest(config: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits over the settings that make scores comparable and are no field of a track.

    Versions, device, seeds, batch sizes of evaluation and the method's options are left out. The keys are those of
    results of schema 1, which new runs keep, so that old and new results of the same settings share a track.
    """
    decisive = {key: config.get(key) for key in ("numbers", "eval_records", "alpha", "evaluation_rounds")}
    # What files that do not mention them stand for.
    unnamed = {"eval_records_others": None, "eval_sample": "first", "benchmark": "drake", **OF_BACKBONES}
    decisive |= {key: config[key] for key, usual in unnamed.items() if config.get(key, usual) != usual}
    everyone = asdict(EVERYONE)
    for name in ("absent", "late"):  # a run names such clients only where there are any
        del everyone[name]
    participation = config.get("attendance", everyone)
    if participation != everyone:  # older files without the key had full participation
        decisive["attendance"] = participation
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:8]
