"""Does relevance mean anything? How well client i learns from client j's adapter, against RELA's relevance S_ij.

    python experiments/client_transfer.py runs/tables/fedmosaic-m --out runs/client-transfer

RUN is a finished run of fedmosaic in which all clients hold one backbone, so that every client can start from every
other one's adapter. Written to OUT: transfer.json, relevance.png, and a table for docs/fedmosaic.md on the terminal.

For every seed of the run and the end of every task:

    1. Every client is trained alone (SFT) up to that round, as in the run: the same records, batches and settings.
    2. Client i starts from the adapter of client j, for all pairs, and trains for the steps of one further round on the
       records of its last round. loss[i, j] is its mean loss per answer token on test records of its own tasks then.
    3. transfer[i, j] = loss[i, bare] - loss[i, j], where "bare" starts from an untrained adapter: what client i gains
       from j's adapter beyond its own training.

Relevance decides among the others of one client (a softmax over j), so Spearman's correlation of S[i, j] and
transfer[i, j] is taken over j for each i, and averaged. The interval is a bootstrap over clients and seeds (scipy). A
second row leaves out pairs of clients with tasks of one world in common, which are similar by construction.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from drake.common.files import replacing
from drake.common.threads import use_threads
from drake.config import Config, configure
from drake.engines.serial import Serial
from drake.engines.tasks import Job, perform
from drake.errors import DrakeError
from drake.federation.callbacks import RunContext
from drake.federation.loop import run_rounds
from drake.federation.messages import State
from drake.federation.method import Client
from drake.federation.state import Progress
from drake.models.backbones import answer_logits
from drake.results import Results, load
from drake.results.plots import heatmap
from drake.runs.setup import Setup
from drake.runs.stored import read_stored

TEST_RECORDS = 25
"""Of every task of a client: enough for a loss, which has less noise than a share of right answers."""
RESAMPLES = 2000


class Pairs:
    """transfer and relevance [points, N, N] by seed, NaN on the diagonal; same_world [N, N]."""

    def __init__(self, seeds: Sequence[int], rounds: Sequence[int], same_world: NDArray[np.bool_]) -> None:
        self.seeds, self.rounds, self.same_world = tuple(seeds), tuple(rounds), same_world
        self.transfer: dict[int, NDArray[np.float64]] = {}
        self.relevance: dict[int, NDArray[np.float64]] = {}

    def by_client(self, strangers: bool) -> NDArray[np.float64]:
        """[seeds, clients]: Spearman's correlation over the other clients, mean over the points.

        strangers: leave out the pairs of clients with a world in common.
        """
        left_out = np.eye(len(self.same_world), dtype=bool) | (self.same_world if strangers else False)
        found = np.full((len(self.seeds), len(left_out)), np.nan)
        for place, seed in enumerate(self.seeds):
            for i, out in enumerate(left_out):
                if (~out).sum() > 2:
                    rows = zip(self.relevance[seed][:, i, ~out], self.transfer[seed][:, i, ~out], strict=True)
                    found[place, i] = np.mean([stats.spearmanr(s, t).statistic for s, t in rows])
        return found


def interval(values: NDArray[np.float64], seed: int = 0) -> tuple[float, float, float]:
    """Mean of [seeds, clients] and its 95% interval: percentiles of a bootstrap over clients and over seeds."""
    rng = np.random.default_rng(seed)
    seeds, clients = values.shape
    drawn = [
        np.nanmean(values[np.ix_(rng.integers(seeds, size=seeds), rng.integers(clients, size=clients))])
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(np.nanmean(values)), float(low), float(high)


@torch.no_grad()
def answer_loss(setup: Setup, model: torch.nn.Module, client: Client, tasks: Sequence[str]) -> float:
    """Mean cross-entropy per answer token on test records of the client's tasks."""
    backbone = setup.backbones[client.backbone]
    losses: list[float] = []
    for task in tasks:
        table = setup.benchmark.records(task, "test")
        logits, targets = answer_logits(
            model, backbone.batch([table[row] for row in range(TEST_RECORDS)], answers=True)
        )
        losses.append(float(torch.nn.functional.cross_entropy(logits.float(), targets)))
    return float(np.mean(losses))


def measured(setup: Setup, seed: int, rounds: Sequence[int], told: Callable[[str], None]) -> NDArray[np.float64]:
    """transfer [points, N, N] of one seed."""
    worker = setup.worker(seed)
    run = RunContext(worker.federation, worker.method, Progress(), setup.config.method, {}, None)
    clients, found = setup.clients, []
    for number in rounds:
        run_rounds(Serial(worker), run, rounds=number)
        begun = set(setup.begun(number))
        transfer = np.full((len(clients), len(clients)), np.nan)
        for client in clients:
            own = [task for task in client.tasks if task in begun]

            def loss(start: State, client: Client = client, own: Sequence[str] = own) -> float:
                result = perform(Job(client, number - 1, start, None), worker)  # noqa: B023
                model = worker.answer_as(client, result.state, None, number)  # noqa: B023
                return answer_loss(setup, model, client, own)

            bare = loss(worker.initial_state(client))
            for other in clients:
                if other.id != client.id:
                    transfer[client.id, other.id] = bare - loss(run.progress.states[other.id])
        found.append(transfer)
        told(f"seed {seed}, round {number}: mean transfer {np.nanmean(transfer):+.3f} nats")
    return np.stack(found)


def measure(run: Results, config: Config, told: Callable[[str], None] = print) -> Pairs:
    """Everything that the page shows. DrakeError for a run that cannot show it."""
    if len(run.models.names) > 1:
        raise DrakeError("the clients hold several backbones; name a run of one, such as --models tiny-llama-m.")
    if any(not seed.relevance or None in seed.relevance for seed in run.runs):
        raise DrakeError("the run has no relevance of every round; name a finished run of fedmosaic.")
    setup = Setup(config)
    worlds = [{setup.benchmark.records(task, "test")[0]["source"] for task in c.tasks} for c in setup.clients]
    same = np.array([[bool(a & b) for b in worlds] for a in worlds])
    rounds = list(setup.evaluation_rounds)
    pairs = Pairs([seed.seed for seed in run.runs], rounds, same)
    for seed in run.runs:
        matrices = np.array([seed.relevance[number - 1] for number in rounds], dtype=np.float64)  # type: ignore[index]
        matrices[:, range(len(same)), range(len(same))] = np.nan
        pairs.relevance[seed.seed] = matrices
        pairs.transfer[seed.seed] = measured(setup, seed.seed, rounds, told)
    return pairs


def write(pairs: Pairs, out: Path) -> str:
    """transfer.json and the two pictures; returns the table."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("relevance", "transfer"):
        mean = np.mean([getattr(pairs, name)[seed] for seed in pairs.seeds], axis=(0, 1))
        names = [f"client {i}" for i in range(len(mean))]
        heatmap(mean, names, names, out / name, f"{name} of the client of a column for that of a row", diverging=True)
    lines = ["| pairs of clients | Spearman, mean over clients | 95% interval |", "|---|---:|---:|"]
    found: dict[str, object] = {"seeds": list(pairs.seeds), "rounds": list(pairs.rounds)}
    for title, strangers in (("all", False), ("without a world in common", True)):
        values = pairs.by_client(strangers)
        mean, low, high = interval(values)
        lines.append(f"| {title} | {mean:+.2f} | {low:+.2f} to {high:+.2f} |")
        found[title] = {"mean": mean, "interval": [low, high]}
    found |= {name: {s: getattr(pairs, name)[s].tolist() for s in pairs.seeds} for name in ("transfer", "relevance")}
    with replacing(out / "transfer.json") as temporary:
        temporary.write_text(json.dumps(found).replace("NaN", "null") + "\n")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/client-transfer"))
    asked = parser.parse_args()
    use_threads(1)
    read_stored(asked.run)  # one sentence for a folder that holds no run
    config = configure("sft", file=asked.run / "config.toml")
    print(write(measure(load(asked.run), config), asked.out))


if __name__ == "__main__":
    main()
