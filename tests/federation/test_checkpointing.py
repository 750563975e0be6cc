"""Gradient checkpointing saves memory and changes nothing: not a bit of what a client learns on a CPU."""

from dataclasses import replace

import pytest
import torch
from drake_methods.fedmosaic import FedMosaic

from drake.config import preset
from drake.data.benchmark import load
from drake.engines.tasks import Job, perform
from drake.engines.worker import Worker
from drake.federation.method import Architecture, Client, Federation
from drake.models import backbones


@pytest.fixture
def learn(micro_backbones, micro_data):
    """checkpointing -> (state after one round of three steps with dropout, whether activations were computed again)."""
    training = replace(preset("quick").training, steps=3, micro_batch=2, dropout=0.1)
    client = Client(0, "llama-4", ("NLVR2-0",))
    records = load(micro_data).records("NLVR2-0", "train")
    steps = [[[records[2 * step], records[2 * step + 1]]] for step in range(3)]

    def run(checkpointing):
        backbone = backbones.load(micro_backbones["llama-4"], checkpointing=checkpointing)
        forwards = []
        backbone.model.model.language_model.layers[0].mlp.register_forward_pre_hook(lambda *_: forwards.append(1))
        worker = Worker(FedMosaic(training), lambda name: backbone, lambda client, round: steps)
        architectures = {"llama-4": Architecture("llama-4", "llama", 4)}
        worker.join(Federation((client,), architectures, 0, 1, training, worker.backbone, lambda count, purpose: []))
        return perform(Job(client, 0, worker.initial_state(client), None), worker).state, len(forwards)

    return run


def test_a_round_with_checkpointing_has_the_bits_of_one_without(learn):
    kept, forwards = learn(False)
    computed_again, more = learn(True)
    assert more > forwards
    assert all(torch.equal(computed_again[name], tensor) for name, tensor in kept.items())
