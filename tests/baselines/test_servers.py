"""Whole runs of the methods whose servers train, and of FedDPA by the question: other processes, resuming, absent
clients, same bits."""

from __future__ import annotations

import pickle
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from test_averaging import NAMES, OUT, federation

from drake.config import preset
from drake.data.benchmark import load
from drake.engines.serial import Serial
from drake.engines.tasks import moved, perform
from drake.engines.worker import Worker
from drake.federation import registry
from drake.federation.callbacks import Callback, RunContext
from drake.federation.checkpoint import CheckpointCallback, Checkpoints
from drake.federation.loop import run_rounds
from drake.federation.measurements import measurements
from drake.federation.method import Upload
from drake.federation.state import Progress
from drake.models import backbones

OPTIONS = {"perada": {"records": "4"}, "takfl": {"records": "4"}, "fedmkt": {}, "feddpa": {"samples": "2"}}


class Elsewhere:
    """Clients train, and the server distils, on another worker; this process's own has never seen the tasks."""

    def __init__(self, worker, other):
        self.worker, self.other = worker, other

    def run(self, tasks):
        for index in reversed(range(len(tasks))):
            sent = pickle.loads(pickle.dumps(tasks[index]))
            yield index, moved(perform(sent, self.other), "cpu")


class Stopped(Exception):
    pass


class Watching(Callback):
    """servers: what the server carried after each round. stop: after so many rounds."""

    def __init__(self, stop=None):
        self.stop, self.servers = stop, []

    def round_finished(self, round):
        self.servers.append(dict(round.run.progress.server))
        if round.number + 1 == self.stop:
            raise Stopped


@pytest.fixture(scope="module", params=OPTIONS)
def start(request, micro_backbones, micro_data):
    """() -> a fresh worker, of two families and three backbones, with dropout."""
    training = replace(preset("quick").training, dropout=0.05, rank=4, steps=4, micro_batch=2, accumulation=1)
    data = load(micro_data)
    train = data.records("NLVR2-0", "train")

    def plan(client, round):
        return [[[train[client + round], train[client + step + 1]]] for step in range(2)]

    def fresh():
        method = registry.find(request.param)(training, OPTIONS[request.param])
        worker = Worker(method, lambda name: backbones.load(micro_backbones[name]), plan)
        everyone = federation(training, worker.backbone)
        object.__setattr__(everyone, "public", lambda count, purpose: [data.public[row] for row in range(count)])
        worker.join(everyone)
        return worker

    return fresh


def ran(engine, progress=None, *callbacks):
    present = SimpleNamespace(present=lambda federation, round: set(range(len(NAMES))) - OUT.get(round, set()))
    run = RunContext(engine.worker.federation, engine.worker.method, progress or Progress())
    return run_rounds(engine, run, [*measurements(), *callbacks], present)


@pytest.fixture(scope="module")
def alone(start):
    """(worker, progress, what the server carried after each round) of the run in one process."""
    worker, watching = start(), Watching()
    return worker, ran(Serial(worker), None, watching), watching.servers


def assert_same(found, expected):
    assert found.losses == expected.losses
    assert found.traffic == expected.traffic
    for kind in ("states", "server"):
        assert getattr(found, kind).keys() == getattr(expected, kind).keys()
    pairs = [(found.states[i], state) for i, state in expected.states.items()] + [(found.server, expected.server)]
    for name in ("uploads", "downloads", "waiting"):
        theirs = getattr(expected, name)
        assert getattr(found, name).keys() == theirs.keys()
        pairs += [(getattr(found, name)[i].tensors, message.tensors) for i, message in theirs.items()]
    for ours, theirs in pairs:
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key].cpu(), tensor.cpu()) for key, tensor in theirs.items())


def test_a_run_that_was_stopped_and_went_on_elsewhere_has_the_same_bits(start, alone, tmp_path):
    with pytest.raises(Stopped):
        ran(Serial(start()), None, CheckpointCallback(Checkpoints(tmp_path)), Watching(stop=1))
    progress = Checkpoints(tmp_path).load()
    assert progress.rounds_done == 1
    # The server's process has attached no adapters yet, and trains in none.
    assert_same(ran(Elsewhere(start(), start()), progress, CheckpointCallback(Checkpoints(tmp_path))), alone[1])


def test_an_absent_client_is_heard_with_its_last_upload_and_finds_its_download_waiting(alone):
    worker, progress, servers = alone
    assert list(progress.waiting) == [2]

    def last_aggregation(uploads):
        worker.method.restore(servers[0])
        return worker.method.aggregate(1, uploads, worker.federation)[0].tensors

    heard = last_aggregation(progress.uploads)
    assert all(torch.equal(heard[key], tensor) for key, tensor in progress.downloads[0].tensors.items())
    others, told = {i: progress.uploads[i] for i in (0, 1, 3)}, dict(progress.uploads[2].tensors)
    if "losses" in told:  # FedMKT listens to the best alone
        told["losses"] = torch.zeros_like(told["losses"])
    heard, unheard = last_aggregation(others | {2: Upload(told)}), last_aggregation(others)
    assert not all(torch.equal(unheard[key], tensor) for key, tensor in heard.items())
    peer, waiting = progress.downloads[0].tensors, progress.waiting[2].tensors
    assert all(torch.equal(waiting[key], tensor) for key, tensor in peer.items())  # of the same backbone
    assert all(tensor.isfinite().all() for tensor in waiting.values())


def test_a_client_that_was_away_goes_on(alone):
    worker, progress, _ = alone
    client = worker.federation.clients[2]
    result = worker.method.local_update(
        worker.client_round(client, 2, progress.states[2], progress.waiting[2]),
        [[worker.backbone(client.backbone).batch(micro, answers=True) for micro in step] for step in worker.plan(2, 2)],
    )
    assert result.upload.tensors.keys() == progress.uploads[2].tensors.keys()
    assert 0 < result.stats["loss"] < 20
