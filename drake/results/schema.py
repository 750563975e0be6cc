"""Every key of `results.json`, with its type, unit and meaning.

A run writes the file, everything else (leaderboard, plots, data frames, comparisons) reads it. Scores are fractions,
sizes are bytes, times are seconds. Null stands for "not measured", never for zero.

    RUN/results.json                            Results, below
    RUN/predictions/seed-<s>/point-<t>.parquet  see `drake.scoring.predictions`; t = 0 before training

Indices: t counts evaluation points, i clients, k tasks in the order of `SeedRun.tasks`. Evaluation point t >= 1 is
`scores[...][t - 1]`; point 0 is `zero_shot` and part of no average.

A change of any key raises SCHEMA_VERSION and adds a step to `drake.results.migrations`, because unknown keys are
errors: a reader of the version before must be able to tell that the file is newer. `python -m drake.results.schema`
then writes `results.schema.json` anew, the same models as a JSON Schema for readers in other languages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from drake.common.files import replacing
from drake.scoring.answers import PROTOCOLS, Protocol

SCHEMA_VERSION = 2
MOST_BYTES = 1 << 50
"""Of one message."""
MOST_SCORE = 1000
"""Scores are fractions, but the official F1 has no upper bound."""
JSON_SCHEMA = Path(__file__).with_name("results.schema.json")
"""The JSON Schema of `results.json`, made from the models of this module."""

EvaluateAt = Literal["trained", "aggregated"]
"""What a client answers with: "trained", its model after the local training of the round and before the server
aggregates (as the published code evaluates); "aggregated", its model after the server has aggregated."""

Score = Annotated[float, Field(ge=0)]
"""A fraction, 1 is best. No upper bound: the official F1 passes 1 on a handful of answers."""
Fraction = Annotated[float, Field(ge=0, le=1)]
Bytes = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
ScoreMatrix = list[list[Score | None]]
"""[N][K]: client i's score on task k; null where client i was not asked about task k."""


class Part(BaseModel):
    """Unknown keys and infinite numbers are errors; the strings under the fields are their documentation."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class MethodInfo(Part):
    """What was run."""

    name: str
    """The name the method is registered under, or "module:Class"."""
    reference: str
    """Citation of the method."""
    options: dict[str, JsonValue]
    """The method's own hyperparameters, all of them, defaults included."""
    relative_cost: float
    """Compute of one optimizer step relative to SFT's, > 0."""
    local_steps: float
    """Optimizer steps per client and round, on average; derived from `relative_cost` (equal compute)."""
    batch: int
    """Records per optimizer step."""


class DataInfo(Part):
    """What it was run on."""

    name: str
    """The dataset's name, as its manifest has it."""
    source: str
    """The source of its records, by the name it is registered under in `drake.sources`: "mini", "release", ..."""
    fingerprint: str
    """The manifest's fingerprint over all files; two runs are comparable only where it is equal."""
    split: str
    """The schedule: "dynamic", "static", "dirichlet-<alpha>", ..."""
    seed: int
    """The seed the dataset was built with (not the seed of a run)."""
    path: str | None
    """The folder or repository that the run read; null for the embedded suite."""


class ModelsInfo(Part):
    """The backbones."""

    names: list[str]
    """The backbones of the federation, each once, as the user named them."""
    assignment: str
    """The name of the rule that gave clients their backbones, as the catalog calls it."""
    per_client: list[str]
    """[N]: the backbone of client i, one of `names`."""
    revisions: dict[str, str]
    """Backbone -> what pins its weights: a hub commit or a digest of the files."""


class ClientInfo(Part):
    """One participant."""

    id: int
    """i, from 0 and in order."""
    model: str
    """Its backbone; equals `models.per_client[id]`."""
    tasks: list[str]
    """Its own tasks in the order in which they arrive."""


class Traffic(Part):
    """One kind of message between one client and the server in one round."""

    round: Annotated[int, Field(ge=0)]
    """From 1; 0 for what was sent before the first round (alignment)."""
    client: Annotated[int, Field(ge=0)]
    """i."""
    direction: Literal["up", "down"]
    """"up": client to server."""
    kind: str
    """What was sent, as the method names it: "adapter", "gradient", "logits", ..."""
    bytes: Bytes
    """As sent, in the dtype that was sent."""


class Estimate(Part):
    """A number over seeds."""

    mean: float | None
    """Arithmetic mean over the seeds that measured it; null if none did."""
    stderr: float | None
    """Standard error of the mean: the sample standard deviation (n - 1) over the root of n; null for n < 2."""
    n: Annotated[int, Field(ge=0)]
    """Number of seeds it was measured with."""


class SeedSummary(Part):
    """The averages of one seed by one protocol, as `drake.results.summaries.seed_summary` computes them.

    Nothing is averaged around a gap: a number is null where any score that it needs is missing.
    """

    self_last: Score | None
    """Mean over clients of the mean over their own begun tasks, at the last point. Ranks the leaderboard."""
    self_auc: Score | None
    """The same, averaged over all points after training began; null where nothing was trained."""
    others_last: Score | None
    """Mean over clients of the mean over the begun tasks of all other clients, its own left out, at the last point."""
    others_auc: Score | None
    """The same, averaged over all points after training began; null where nothing was trained."""
    clients_std: Score | None
    """Population standard deviation over `clients_last`."""
    worst_decile: Score | None
    """Mean of `clients_last` over the lowest tenth of clients, at least one."""
    forgetting: float | None
    """Best earlier score minus the last, over own tasks; negative where later tasks helped. Null with one point."""
    unseen_last: Score | None
    """Mean over clients and over tasks that nobody owns, at the last point; null where there are none, and where they
    were not asked (`--eval-unseen none`)."""
    clients_last: list[Score | None]
    """[N]: each client's mean over its own tasks at the last point."""
    self_curve: list[Score | None]
    """[T]: Self at each point."""
    others_curve: list[Score | None]
    """[T]: Others at each point."""


SCALARS = tuple(name for name in SeedSummary.model_fields if not name.endswith(("_curve", "clients_last")))
"""The fields of SeedSummary that are single numbers: what is estimated over seeds."""


class SecondScores(Part):
    """What the same clients score at another moment of the same evaluation points."""

    scores: dict[Protocol, list[ScoreMatrix]]
    """Protocol -> a[t,i,k], [T][N][K]."""
    summary: dict[Protocol, SeedSummary]
    """Protocol -> the averages of `scores`."""


class SeedRun(Part):
    """The whole federation once, with one seed. T evaluation points, N clients, K tasks."""

    seed: int
    """The seed of everything drawn at random in this run."""
    rounds: list[int]
    """[T]: rounds finished when point t was evaluated, from 1 on, strictly rising."""
    tasks: list[str]
    """[K]: names of the columns k: the tasks of the clients, then those of nobody, where these were asked."""
    begun: list[list[str]]
    """[T]: tasks that had begun by point t; only these enter its averages."""
    scores: dict[Protocol, list[ScoreMatrix]]
    """Protocol -> a[t,i,k], [T][N][K]."""
    zero_shot: dict[Protocol, ScoreMatrix] | None
    """Protocol -> [N][K] before any training; null where that was not evaluated."""
    unparsed: Fraction
    """Fraction of the answers to choice questions, all points after training began together, that matched no choice."""
    summary: dict[Protocol, SeedSummary]
    """Protocol -> the averages of `scores`; empty only before the first evaluation."""
    traffic: list[Traffic]
    """Everything that crossed, by round, client, direction and kind."""
    seconds_train: Seconds
    """Wall-clock spent in rounds: local training and aggregation."""
    seconds_aggregation: Seconds | None
    """Of `seconds_train`, the server's aggregation; null where it was not measured."""
    seconds_eval: Seconds
    """Wall-clock spent generating and scoring answers."""
    flops: Annotated[float, Field(ge=0)] | None
    """Floating point operations of local training, all clients and rounds together, without the vision towers and
    without the server: those of the products in one round of one client of each backbone, taken per padded token and
    multiplied by the tokens of all. Null where it was not counted."""
    train_loss: list[list[float | None]]
    """[rounds][N]: mean training loss per answer token; null where client i took no part in the round. Empty where
    nothing was trained: adapters that came from elsewhere."""
    relevance: list[list[list[float | None]] | None] | None
    """[rounds][N][N]: task relevance S_ij; null for methods and rounds that compute none."""
    aggregated: SecondScores | None = None
    """What clients score after the aggregation, in a run that is evaluated "trained" and was asked for both
    (`--also-aggregated`); null otherwise, and while the last point lacks it. The answers stand in
    RUN/aggregated/predictions."""

    @model_validator(mode="after")
    def _shapes_agree(self) -> SeedRun:
        _need_both(self.scores, "scores")
        if self.summary:
            _need_both(self.summary, "summary")
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError("a task is named twice in tasks")
        if any(later <= earlier for earlier, later in pairwise([0, *self.rounds])):
            raise ValueError("rounds do not rise from 1 on")
        if len(self.begun) != len(self.rounds):
            raise ValueError(f"begun has {len(self.begun)} points, rounds has {len(self.rounds)}")
        if strangers := {task for point in self.begun for task in point} - set(self.tasks):
            raise ValueError(f"begun names {sorted(strangers)[0]!r}, which tasks does not hold")
        for protocol, points in self.scores.items():
            if len(points) != len(self.rounds):
                raise ValueError(f"scores.{protocol} has {len(points)} points, rounds has {len(self.rounds)}")
        if self.zero_shot is not None:
            _need_both(self.zero_shot, "zero_shot")
        if self.aggregated is not None:
            _need_both(self.aggregated.scores, "aggregated.scores")
            _need_both(self.aggregated.summary, "aggregated.summary")
            if {len(points) for points in self.aggregated.scores.values()} != {len(self.rounds)}:
                raise ValueError("aggregated.scores has other points than rounds")
        return self


class Machine(Part):
    """The computer."""

    cpu: str
    """Model name of the processor."""
    cores: int
    """Logical cores of the machine."""
    threads: int
    """Threads PyTorch computed with, in each process."""
    processes: int
    """Processes that computed in parallel."""


class Environment(Part):
    """Where it ran, for whoever repeats it."""

    python: str
    """Version of the interpreter."""
    packages: dict[str, str]
    """Distribution -> version, of what the result depends on."""
    git_commit: str | None
    """Commit of the source tree; null when installed from a wheel."""
    git_dirty: bool | None
    """Whether the source tree differed from that commit; null when installed from a wheel."""
    machine: Machine
    """The computer that it ran on."""
    device: str
    """Where tensors lived: "cpu", "cuda", ..."""
    dtype: str
    """Of the backbone's weights: "float32", "bfloat16"."""


class Results(Part):
    """`results.json`: a run of one method on one dataset with one or more seeds."""

    schema_version: Literal[2] = SCHEMA_VERSION
    """Version of this file's layout; rises with every change of a key."""
    status: Literal["complete", "running", "interrupted"]
    """Only "complete" runs are ranked; "running" and "interrupted" ones may lack seeds and points."""
    method: MethodInfo
    """The method and its hyperparameters."""
    evaluate_at: EvaluateAt
    """Whether clients answered after their local training or after the aggregation."""
    preset: str
    """The preset the numbers of `config` started from: "quick", "mini", "paper"."""
    config: dict[str, JsonValue]
    """Everything that decides the result, in full. `config["data"]` holds the sizes a mini suite was built with,
    `config["eval_records"]` the number of test records scored per task (0: all)."""
    data: DataInfo
    """The dataset."""
    models: ModelsInfo
    """The backbones and who has which."""
    clients: list[ClientInfo]
    """[N]: the clients."""
    runs: list[SeedRun]
    """One per seed."""
    summary: dict[Protocol, dict[str, Estimate]]
    """Protocol -> single number of SeedSummary -> its estimate over seeds; empty until a seed is complete."""
    environment: Environment
    """Where it ran."""
    started: str
    """When the run began, ISO 8601 in UTC."""
    finished: str | None
    """When its last seed ended, ISO 8601 in UTC; null while it runs."""
    seconds: Seconds
    """Wall-clock of the whole run, all seeds, pauses between resumes left out."""

    @model_validator(mode="after")
    def _parts_agree(self) -> Results:
        clients, per_client = len(self.clients), self.models.per_client
        if [client.id for client in self.clients] != list(range(clients)):
            raise ValueError("clients are not numbered from 0 in order")
        if any(not client.tasks for client in self.clients):
            raise ValueError("a client has no task")
        if [client.model for client in self.clients] != per_client:
            raise ValueError("clients[].model and models.per_client disagree")
        if set(per_client) != set(self.models.names):
            raise ValueError("models.names and models.per_client disagree")
        if len({run.seed for run in self.runs}) < len(self.runs):
            raise ValueError("two runs have the same seed")
        if self.status == "complete" and self.runs:
            _need_both(self.summary, "summary")
        for run in self.runs:
            if run.rounds and not run.summary:
                raise ValueError(f"the run of seed {run.seed} lacks its summary")
            if missing := {task for client in self.clients for task in client.tasks} - set(run.tasks):
                raise ValueError(f"run of seed {run.seed} has no column for task {sorted(missing)[0]!r}")
            for summary in (*run.summary.values(), *(run.aggregated.summary.values() if run.aggregated else ())):
                lengths = len(summary.clients_last), len(summary.self_curve), len(summary.others_curve)
                if lengths != (clients, len(run.rounds), len(run.rounds)):
                    raise ValueError(f"the summary of seed {run.seed} has other clients or points than the run")
            for matrix in filter(None, run.relevance or ()):
                if len(matrix) != clients or {len(row) for row in matrix} != {clients}:
                    raise ValueError(f"relevance of seed {run.seed} is not of {clients} x {clients} clients")
            if any(message.bytes > MOST_BYTES for message in run.traffic):
                raise ValueError(f"seed {run.seed} has a message of more than {MOST_BYTES:,} bytes")
            matrices = [matrix for points in run.scores.values() for matrix in points]
            if run.aggregated is not None:
                matrices += [matrix for points in run.aggregated.scores.values() for matrix in points]
            for matrix in matrices + list((run.zero_shot or {}).values()):
                if len(matrix) != clients or any(len(row) != len(run.tasks) for row in matrix):
                    raise ValueError(f"a score matrix of seed {run.seed} is not {clients} x {len(run.tasks)}")
                if any(score is not None and score > MOST_SCORE for row in matrix for score in row):
                    raise ValueError(f"a score of seed {run.seed} is above {MOST_SCORE:,}")
            if any(len(losses) != clients for losses in run.train_loss):
                raise ValueError(f"train_loss of seed {run.seed} does not have {clients} clients in every round")
        return self


def _need_both(by_protocol: Mapping[Protocol, object], name: str) -> None:
    if set(by_protocol) != set(PROTOCOLS):
        raise ValueError(f"{name} must hold exactly the protocols {' and '.join(PROTOCOLS)}")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a results file of this version."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:drake:results:{SCHEMA_VERSION}",
        **Results.model_json_schema(mode="serialization"),
    }


def write_json_schema() -> None:
    """Write the file JSON_SCHEMA."""
    with replacing(JSON_SCHEMA) as temporary:
        temporary.write_text(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_json_schema()
