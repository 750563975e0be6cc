"""What runs do on a GPU: every method, and everything that saves time or memory there.

Each body takes the device as a parameter: all cases run on CUDA, a cut-down one on the CPU, so that the bodies are
known to work. What a CPU can show in full is tested beside the code it belongs to.
"""

from __future__ import annotations

import math

import pytest
import torch

from drake.config import configure
from drake.federation import registry
from drake.federation.callbacks import Callback
from drake.results import load
from drake.runs import Setup, evaluate
from drake.scoring.predictions import read_predictions

CLIENTS = 2
METHODS = [name for name in registry.names() if name != "joint"]
SAVINGS = {
    "bfloat16": {"dtype": "bfloat16"},
    "checkpointing": {"gradient_checkpointing": True},
    "compile": {"compile": True},
    "quick batches": {"eval_tokens": "auto"},
    "all": {"dtype": "bfloat16", "gradient_checkpointing": True, "compile": True, "eval_tokens": "auto"},
}


def on_cuda(*values: object, id: str) -> object:
    """A case that only a GPU can check."""
    reason = f"there is no GPU: {id} was NOT checked on CUDA"
    absent = pytest.mark.skipif(not torch.cuda.is_available(), reason=reason)
    return pytest.param("cuda", *values, marks=[pytest.mark.gpu, absent], id=f"cuda-{id}")


def on_cpu(*values: object) -> object:
    return pytest.param("cpu", *values, id="cpu")


@pytest.fixture
def run(micro_backbones, micro_data, tmp_path):
    """(device, method, name of a folder, callbacks, settings) -> the run of a small federation, and its folder."""

    def ran(device, method, name="run", callbacks=(), **changes):
        numbers = {"steps": 1, "micro_batch": 2, "rounds": 1, "eval_records": 1, "max_new_tokens": 2, "eval_every": 4}
        models = tuple(micro_backbones[short] for short in changes.pop("shapes", ["llama-4"]))
        numbers |= {"models": models, "data": micro_data, "device": device, "clients": CLIENTS, "engine": "serial"}
        config = configure(method, "quick", **numbers | {"training.dropout": 0.0} | changes)
        out = tmp_path / name
        return evaluate(Setup(config), out, callbacks=callbacks).runs[0], out

    return ran


def losses_of(found):
    """The mean training loss of every client in every round."""
    losses = [loss for row in found.train_loss for loss in row]
    assert losses
    assert all(loss is not None and math.isfinite(loss) for loss in losses)
    return losses


@pytest.mark.parametrize(
    ("device", "method"), [on_cpu("fedsim"), *(on_cuda(name, id=f"method {name}") for name in METHODS)]
)
def test_a_method_trains_and_answers(run, device, method):
    mixed = {"shapes": ["llama-4", "llama-6"]}
    found, out = run(device, method, **mixed)
    losses = losses_of(found)
    rows = read_predictions(out / "predictions/seed-0/point-1.parquet")
    assert {row.client for row in rows} == set(range(CLIENTS))
    if device == "cuda":  # the first states and the batches are those of the CPU
        expected, _ = run("cpu", method, "on the CPU", **mixed)
        assert losses == pytest.approx(losses_of(expected), rel=0.05)


@pytest.mark.parametrize(
    ("device", "changes"),
    [
        on_cpu({"dtype": "bfloat16", "gradient_checkpointing": True, "eval_tokens": "auto"}),
        *(on_cuda(changes, id=id) for id, changes in SAVINGS.items()),
    ],
)
def test_what_saves_time_or_memory_leaves_the_losses_alone(run, tmp_path, device, changes):
    plain = losses_of(run(device, "fedmosaic", "plain", **{"fedmosaic.gate": "scalar"})[0])
    folder = tmp_path / "features"
    for name in ("first", "from the cache"):
        settings = {"fedmosaic.gate": "scalar", "feature_cache": str(folder)}
        found, _ = run(device, "fedmosaic", name, **changes, **settings)
        assert losses_of(found) == pytest.approx(plain, rel=0.05)
    assert list(folder.glob("*/*.safetensors"))


class StopAfter(Callback):
    """Interrupts a run when a client has trained."""

    def client_trained(self, client):
        raise KeyboardInterrupt


@pytest.mark.parametrize("device", [on_cpu(), on_cuda(id="going on after a stop")])
def test_a_stopped_run_goes_on_to_the_same_losses(run, device):
    whole, _ = run(device, "sft", "whole")
    with pytest.raises(KeyboardInterrupt):
        run(device, "sft", "stopped", callbacks=[StopAfter()])
    resumed, out = run(device, "sft", "stopped")
    assert load(out).status == "complete"
    assert losses_of(resumed) == pytest.approx(losses_of(whole), rel=0 if device == "cpu" else 1e-3)
