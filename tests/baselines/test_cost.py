"""Equal compute: what a method declares its step to cost is what it costs, in floating point operations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drake.config import preset
from drake.data.benchmark import load
from drake.federation import adapters, registry
from drake.federation.flops import count_flops
from drake.federation.method import Architecture, Client, ClientRound, Federation
from drake.models import backbones
from drake.models.tiny import Shape, new_model

SHAPE, RANK = Shape("llama", 4, 128, 512, heads=4), 8
"""The proportions of a backbone of 1B: the FFN four times and the rank a sixteenth of the width."""
TOLERANCE = 0.1


@pytest.fixture(scope="module")
def cost(micro_backbones, micro_data):
    """Name of a method -> operations of one local step, forward and back; on average, where not all are alike."""
    small, data = backbones.load(micro_backbones["llama-4"]), load(micro_data)
    numbers = {"rank": RANK, "alpha": 2 * RANK, "dropout": 0.0, "steps": 9, "micro_batch": 2, "accumulation": 1}
    training = replace(preset("paper").training, **numbers)
    records = data.records("NLVR2-0", "train")
    clients = tuple(Client(number, "wide", ("NLVR2-0",)) for number in range(2))
    architectures = {"wide": Architecture("wide", "llama", SHAPE.layers)}

    def public(count, purpose):  # as long as the client's own
        return [records[row % 2] for row in range(count)]

    def of_a_step(name: str) -> float:
        model = new_model(SHAPE, small.tokenizer, seed=0)
        backbone = backbones.Backbone("wide", "llama", "0", model, small.processor, small.device, small.dtype)
        step = [backbone.batch([records[0], records[1]], answers=True)]
        method = registry.find(name)(training)
        federation = Federation(clients, architectures, 0, 1, training, lambda name: backbone, public)
        method.join(federation)
        attached = method.attach(backbone, clients[0])
        now = ClientRound(clients[0], backbone, attached, training)
        state = method.initial_state(now)

        def local(steps, state, download=None):
            return method.local_update(replace(now, state=state, download=download), [step] * steps)

        def of(steps: int, *received) -> int:
            return count_flops(lambda: local(steps, *(received or (state,))))

        if hasattr(method, "public_size"):  # what is done once a round follows from the round's steps
            first, steps = local(1, state), round(training.local_steps(method.relative_cost))
            return of(steps, first.state, method.aggregate(0, {0: first.upload}, federation)[0]) / steps
        every = getattr(method.options, "gradient_every", None)
        if every is None:
            return of(2) / 2
        one, two = of(1), of(2)  # a probe goes with the first step alone
        return (two - one) + (2 * one - two) / every

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapters.AdaptedLinear, "folded_width", 0)  # as on real backbones
        yield of_a_step


@pytest.fixture(scope="module")
def of_sft(cost):
    return cost("sft")


@pytest.mark.parametrize("name", registry.names())
def test_a_step_costs_what_the_method_declares(cost, of_sft, name):
    assert cost(name) / of_sft == pytest.approx(registry.find(name).relative_cost, rel=TOLERANCE)
