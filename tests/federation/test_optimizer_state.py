"""What AdamW has gathered in a client's rounds: dropped, or kept in the client's state."""

import pytest
import torch

from drake.config import configure, preset
from drake.engines.serial import Serial
from drake.engines.tasks import Job, perform
from drake.federation.callbacks import RunContext
from drake.federation.checkpoint import CheckpointCallback, Checkpoints
from drake.federation.loop import run_rounds
from drake.federation.measurements import measurements
from drake.federation.messages import OPTIMIZER, split_moments
from drake.runs import Setup

METHODS = ["sft", "fedit", "ditto", "feddat", "perada", "fedsim", "feddpa", "takfl", "fedmkt", "fedmosaic"]
CLIENTS = frozenset({0, 1, 2})
SHORT = {"perada": {"perada.records": 2}, "takfl": {"takfl.records": 2}}
"""Options with which a server's distillation takes less than a second."""


class _Three:
    def present(self, federation, round):
        return CLIENTS


@pytest.fixture
def setup(micro_backbones, micro_data):
    def made(method, **changes):
        numbers = {"steps": 2, "micro_batch": 1, "accumulation": 1, "rounds": 2, "device": "cpu", "clients": 3}
        models = (micro_backbones["llama-4"], micro_backbones["llama-6"])
        changes = {"training.optimizer_state": "kept"} | SHORT.get(method, {}) | changes
        return Setup(configure(method, "quick", models=models, data=micro_data, **numbers | changes))

    return made


def federated(setup, folder=None, rounds=None, progress=None):
    """The progress after some rounds of three clients."""
    worker = setup.worker(0)
    run = RunContext(worker.federation, worker.method)
    run.progress = progress or run.progress
    stored = [] if folder is None else [CheckpointCallback(Checkpoints(folder))]
    return run_rounds(Serial(worker), run, [*measurements(), *stored], _Three(), rounds=rounds)


def same(found, expected):
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], tensor) for name, tensor in expected.items()
    )


def test_two_rounds_with_moments_kept_are_one_round_of_all_their_steps(setup):
    worker = setup("sft").worker(0)
    client, plan = worker.federation.clients[0], worker.plan
    state = worker.initial_state(client)
    first = perform(Job(client, 0, state, None), worker)
    second = perform(Job(client, 1, first.state, None), worker)
    worker.plan = lambda client, round: [*plan(client, 0), *plan(client, 1)]
    at_once = perform(Job(client, 0, state, None), worker)
    assert same(second.state, at_once.state)
    steps = [tensor for name, tensor in second.state.items() if name.startswith(OPTIMIZER) and name.endswith(".step")]
    assert len(steps) == len(split_moments(second.state)[0])
    assert all(tensor.item() == len(worker.plan(0, 0)) for tensor in steps)


def test_fresh_is_the_default_of_quick_and_mini_and_leaves_nothing(setup):
    assert [preset(name).training.optimizer_state for name in ("quick", "mini", "paper")] == ["fresh", "fresh", "kept"]
    fresh, kept = setup("sft", **{"training.optimizer_state": "fresh"}), setup("sft")
    progress = federated(fresh)
    assert not any(name.startswith(OPTIMIZER) for state in progress.states.values() for name in state)
    assert "optimizer_state" not in fresh.identity()["numbers"]["training"]  # one track with earlier runs
    assert kept.identity()["numbers"]["training"]["optimizer_state"] == "kept"
    ours, _ = split_moments(federated(kept).states[0])
    assert not same(ours, progress.states[0])


@pytest.mark.parametrize("method", METHODS)
def test_moments_stay_with_the_client_through_a_checkpoint_and_never_cross(setup, method, tmp_path):
    kept = setup(method)
    whole = federated(kept)
    federated(kept, tmp_path, rounds=1)
    again = federated(setup(method), tmp_path, progress=Checkpoints(tmp_path).load())
    for client in CLIENTS:
        own, moments = split_moments(whole.states[client])
        assert same(again.states[client], whole.states[client])
        assert {name.rsplit(".", 1)[1] for name in moments} == {"step", "exp_avg", "exp_avg_sq"}
        counts = {tensor.item() for name, tensor in moments.items() if name.endswith(".step")}
        assert max(counts) == (2 if method in ("ditto", "perada", "fedsim", "feddpa") else max(counts))
        assert not any(name.startswith(OPTIMIZER) for name in own)
        if client in whole.uploads:
            assert not any(name.startswith(OPTIMIZER) for name in whole.uploads[client].tensors)
        assert not any(name.startswith(OPTIMIZER) for name in getattr(whole.downloads.get(client), "tensors", {}))
    plain = federated(setup(method, **{"training.optimizer_state": "fresh"}))
    assert whole.traffic == plain.traffic
    assert plain.losses[0] == whole.losses[0]
    assert plain.losses[1].keys() == whole.losses[1].keys()
