"""Every client answers as it would alone, one batch after another, whatever its layers keep between forward passes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from drake.config import preset
from drake.data.benchmark import load
from drake.engines.worker import Worker
from drake.federation import adapters, registry
from drake.federation.method import Architecture, Client, Federation
from drake.models import backbones
from drake.models.fixed import Derives, parameters_fixed
from drake.scoring.generation import TOGETHER, answers, batches, generate

NEW_TOKENS = 3
METHODS = [
    ("sft", {}),
    ("fedsim", {}),
    ("feddpa", {"samples": "2"}),
    ("fedmosaic", {}),
    ("fedmosaic", {"gate": "scalar"}),
]


@pytest.fixture(scope="module")
def records(micro_data):
    data = load(micro_data)
    return [data.records(task, "test")[0] for task in list(data.tasks)[::2]]


def federation_of(folder, name, options):
    """A worker of two clients whose tensors are random, and their states."""
    backbone = backbones.load(folder)
    training = replace(preset("quick").training, rank=4)
    method = registry.find(name)(training, options | ({"align": "false"} if name == "fedmosaic" else {}))
    worker = Worker(method, lambda _: backbone, lambda client, round: [])
    clients = tuple(Client(i, "llama-4", (f"task-{i}",)) for i in range(2))
    architectures = {"llama-4": Architecture("llama-4", backbone.family, backbone.num_layers)}
    worker.join(Federation(clients, architectures, 0, 1, training, worker.backbone, lambda count, purpose: []))
    noise = torch.Generator().manual_seed(0)
    states = {
        client: {
            key: 0.3 * torch.randn(tensor.shape, generator=noise)
            for key, tensor in worker.initial_state(client).items()
        }
        for client in clients
    }
    return worker, backbone, states


@pytest.mark.parametrize(("name", "options"), METHODS, ids=["sft", "fedsim", "feddpa", "input gate", "scalar gate"])
def test_a_client_answers_as_it_does_alone(micro_backbones, records, name, options):
    worker, backbone, states = federation_of(micro_backbones["llama-4"], name, options)
    groups = [[records[i] for i in group] for group in batches([backbone.prompt_length(r) for r in records], 300)]
    assert len(groups) > TOGETHER
    ready = {
        client.id: lambda c=client, s=state: worker.answer_as(c, s, None, 1, True) for client, state in states.items()
    }
    found = {(a.client, a.record): a.token_ids for a in answers(backbone, ready, groups, NEW_TOKENS)}
    expected = {}
    for group in groups:
        batch = backbone.batch(group, answers=False)
        for client, make in ready.items():
            rows = generate(make().eval(), batch, backbone.stop_ids, NEW_TOKENS)
            expected |= {(client, record["id"]): row for record, row in zip(group, rows, strict=True)}
    assert found == expected
    assert len({tuple(row) for row in expected.values()}) > 3
    assert any(expected[0, record["id"]] != expected[1, record["id"]] for record in records)


@pytest.mark.parametrize("folded_width", [adapters.FOLDED_WIDTH, 0])
def test_factors_are_made_once_while_parameters_are_fixed_and_anew_afterwards(
    micro_backbones, monkeypatch, folded_width
):
    model = backbones.load(micro_backbones["llama-4"]).model
    adapters.add(model, ["first", "second"], preset("quick").training)
    adapters.fold_up_to(model, folded_width)
    noise = torch.Generator().manual_seed(0)
    for name in ("first", "second"):
        drawn = {key: torch.randn(t.shape, generator=noise) for key, t in adapters.tensors(model, name).items()}
        adapters.write(model, name, drawn)
    made = []
    factors = adapters.AdaptedLinear.factors
    monkeypatch.setattr(adapters.AdaptedLinear, "factors", lambda layer: made.append(layer) or factors(layer))
    count = len(adapters.layers(model))

    @torch.inference_mode()
    def logits(*active):
        adapters.activate(model, *active)
        return model(input_ids=torch.arange(20, 30)[None]).logits

    plain = [logits("first"), logits("second")]
    assert len(made) == 2 * count
    with parameters_fixed(model):
        for _ in range(2):  # as FedSim does, whose every token takes both
            assert torch.equal(logits("first"), plain[0])
            assert torch.equal(logits("second"), plain[1])
    assert len(made) == 4 * count
    assert not torch.equal(plain[0], plain[1])
    adapters.write(model, "first", adapters.read(model, "second"))
    assert torch.equal(logits("first"), plain[1])
    assert all(layer._derived is None for layer in model.modules() if isinstance(layer, Derives))
