"""Data frames of results, for analyses in pandas. Called through `ResultSet.to_dataframe`.

Every frame begins with the columns

    run      path of the run folder
    method   name of the method
    seed     seed of the run

and goes on with those that its function lists. Scores are fractions, times seconds. What was not measured is missing
(NaN or NA), never zero.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from drake.results.schema import Results, ScoreMatrix, SeedRun
from drake.scoring.answers import PROTOCOLS, Protocol
from drake.scoring.predictions import Prediction, point_numbers, prediction_path, read_predictions

Runs = Sequence[tuple[Path, Results]]
"""Run folders and their results."""

_RUN = ("run", "method", "seed")


def scores(runs: Runs) -> pd.DataFrame:
    """One row per score of a client on a task; clients were not asked about tasks that have no row.

    point     evaluation point, 0 before training
    round     rounds finished at that point
    client    number of the client
    model     its backbone
    task      name of the task
    own       whether the task is one of the client's own
    begun     whether the task had begun by that point; Self and Others average begun tasks only. False at point 0
    protocol  "official" or "strict"
    score     fraction
    """
    columns = (*_RUN, "point", "round", "client", "model", "task", "own", "begun", "protocol", "score")
    rows = [
        (str(folder), results.method.name, run.seed, *row)
        for folder, results in runs
        for run in results.runs
        for row in _score_rows(results, run)
    ]
    return pd.DataFrame(rows, columns=list(columns))


def _score_rows(results: Results, run: SeedRun) -> Iterator[tuple[object, ...]]:
    for point, round, begun, protocol, matrix in _matrices(run):
        for client, row in zip(results.clients, matrix, strict=True):
            for task, score in zip(run.tasks, row, strict=True):
                if score is not None:
                    own = task in client.tasks
                    yield point, round, client.id, client.model, task, own, task in begun, protocol, score


def _matrices(run: SeedRun) -> Iterator[tuple[int, int, set[str], Protocol, ScoreMatrix]]:
    """(point, round, begun tasks, protocol, score matrix) of every evaluation point, the zero-shot one first."""
    for protocol in PROTOCOLS:
        if run.zero_shot is not None:
            yield 0, 0, set(), protocol, run.zero_shot[protocol]
        for index, matrix in enumerate(run.scores[protocol]):
            yield index + 1, run.rounds[index], set(run.begun[index]), protocol, matrix


def answers(runs: Runs) -> pd.DataFrame:
    """One row per stored answer, with the columns of the prediction files (`drake.scoring.predictions.Prediction`)."""
    rows = [
        (str(folder), results.method.name, run.seed, *row)
        for folder, results in runs
        for run in results.runs
        for point in point_numbers(len(run.rounds), zero_shot=run.zero_shot is not None)
        for row in read_predictions(prediction_path(folder, run.seed, point))
    ]
    frame = pd.DataFrame(rows, columns=[*_RUN, *Prediction._fields])
    return frame.astype({"correct": "boolean", "strict_correct": "boolean"})


def rounds(runs: Runs) -> pd.DataFrame:
    """One row per round and client; what was sent before the first round is round 0, without a loss.

    round         from 1; 0 only for clients that sent or received something before the first round
    client        number of the client
    loss          mean training loss per answer token; missing where the client took no part
    bytes_up      bytes that the client sent
    bytes_down    bytes that it received
    mean_seconds  `seconds_train` of the seed divided by its rounds (rounds are not timed one by one)
    """
    columns = (*_RUN, "round", "client", "loss", "bytes_up", "bytes_down", "mean_seconds")
    rows = [
        (str(folder), results.method.name, run.seed, *row)
        for folder, results in runs
        for run in results.runs
        for row in _round_rows(results, run)
    ]
    frame = pd.DataFrame(rows, columns=list(columns))
    return frame.astype({"loss": "float64", "mean_seconds": "float64"})


def _round_rows(results: Results, run: SeedRun) -> Iterator[tuple[object, ...]]:
    sent: defaultdict[tuple[int, int, str], int] = defaultdict(int)
    for message in run.traffic:
        sent[message.round, message.client, message.direction] += message.bytes
    early = {client for round, client, _ in sent if round == 0}
    seconds = run.seconds_train / len(run.train_loss) if run.train_loss else None
    for round, losses in enumerate([None, *run.train_loss]):
        for client in range(len(results.clients)):
            if losses is not None or client in early:
                loss, taken = (None, None) if losses is None else (losses[client], seconds)
                yield round, client, loss, sent[round, client, "up"], sent[round, client, "down"], taken
