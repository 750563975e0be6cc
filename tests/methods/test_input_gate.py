"""The input gate: padding changes nothing, decoding with a cache equals one pass, noise only in training."""

import pytest
import torch
from drake_methods.colora import GLOBAL, LOCAL, attach, co_lora_layers, gates
from drake_methods.input_gate import InputGatedLinear, OfficialGatedLinear, watch

from drake.config import preset
from drake.data.benchmark import load
from drake.federation import adapters
from drake.federation.local_training import task_loss
from drake.models import backbones
from drake.scoring.generation import generate


@pytest.fixture
def gated(micro_backbones, micro_data):
    return with_gates(InputGatedLinear, micro_backbones, micro_data)


def with_gates(layer, micro_backbones, micro_data):
    """A backbone with random adapters and gates, and records of different lengths."""
    backbone = backbones.load(micro_backbones["llama-4"])
    attach(backbone.model, preset("quick").training, co_lora_layers(4, 2), layer)
    watch(backbone.model)
    rng = torch.Generator().manual_seed(0)
    for name in (LOCAL, GLOBAL):
        state = adapters.read(backbone.model, name)
        adapters.write(backbone.model, name, {k: torch.randn(t.shape, generator=rng) * 0.3 for k, t in state.items()})
    with torch.no_grad():
        for parameter in gates(backbone.model).values():
            parameter.copy_(torch.randn(parameter.shape, generator=rng))
    backbone.model.eval()
    data = load(micro_data)
    records = [data.records(task, "test")[0] for task in ("NLVR2-0", "iconqa-0", "VizWiz-0")]
    assert len({backbone.prompt_length(record) for record in records}) > 1
    return backbone, records


def test_a_layer_computes_the_causal_mean_gate(gated):
    backbone, records = gated
    layer = adapters.layers(backbone.model)["3.mlp.up_proj"]
    seen = {}
    handle = layer.register_forward_hook(lambda _, inputs, output: seen.update(x=inputs[0], y=output))
    with torch.no_grad():
        backbone.model.model(inputs_embeds=backbone.batch(records[:1], answers=True).inputs["inputs_embeds"])
    handle.remove()
    x, t = seen["x"][0], 5
    gate = torch.sigmoid((x[: t + 1] @ layer.lora_gate_w).mean())
    down, up, shift = layer.module(LOCAL)
    local = up @ (down @ x[t] + shift)
    down, up, shift = layer.module(GLOBAL)
    shared = up @ (down @ x[t] + shift)
    expected = layer.base_layer(x[t]) + (1 - gate) * local + gate * shared
    torch.testing.assert_close(seen["y"][0, t], expected, atol=1e-4, rtol=1e-4)


def test_company_and_padding_change_no_logit_and_no_answer(gated):
    backbone, records = gated
    together = backbone.batch(records, answers=True)
    logits, _ = backbones.answer_logits(backbone.model, together)
    alone = [backbones.answer_logits(backbone.model, backbone.batch([r], answers=True))[0] for r in records]
    torch.testing.assert_close(logits, torch.cat(alone), atol=1e-4, rtol=1e-4)
    rows = generate(backbone.model, backbone.batch(records, answers=False), [], 6)
    for record, row in zip(records, rows, strict=True):
        assert generate(backbone.model, backbone.batch([record], answers=False), [], 6) == [row]


def test_decoding_with_a_cache_equals_one_pass(gated):
    backbone, records = gated
    batch = backbone.batch(records[:1], answers=True)
    embeds = batch.inputs["inputs_embeds"]
    with torch.no_grad():
        whole = backbone.model(inputs_embeds=embeds).logits
        begun = backbone.model(inputs_embeds=embeds[:, :-2], use_cache=True)
        cache, last = begun.past_key_values, []
        for place in (-2, -1):
            step = embeds[:, place:] if place == -1 else embeds[:, place:-1]
            last.append(backbone.model(inputs_embeds=step, past_key_values=cache, use_cache=True).logits)
    torch.testing.assert_close(torch.cat(last, dim=1), whole[:, -2:], atol=1e-4, rtol=1e-4)


def test_the_gate_trains_under_noise_that_does_not(gated):
    backbone, records = gated
    adapters.train_only(backbone.model, gates(backbone.model).values())
    backbone.model.train()
    batch = backbone.batch(records, answers=True)
    torch.manual_seed(0)
    first = task_loss(backbone.model, batch)
    assert task_loss(backbone.model, batch) != first  # the noise is drawn anew
    first.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in gates(backbone.model).values())
    assert {name.rsplit(".", 1)[1] for name in gates(backbone.model)} == {"w"}
    layer = adapters.layers(backbone.model)["3.mlp.up_proj"]
    scores = layer._score(torch.zeros(1, 20_000, layer.in_features))
    assert scores.std().item() == pytest.approx(0.6931, rel=0.03)  # softplus(0), what an untrained n of zeros gives
    assert scores.mean().item() == pytest.approx(0, abs=0.02)


def test_the_official_gate_has_the_official_faults(micro_backbones, micro_data):
    backbone, records = with_gates(OfficialGatedLinear, micro_backbones, micro_data)
    shortest = min(records, key=backbone.prompt_length)
    row = records.index(shortest)
    together = backbone.batch(records, answers=True)
    with torch.no_grad():
        padded = backbone.model.model(inputs_embeds=together.inputs["inputs_embeds"]).last_hidden_state[row, 0]
        embeds = backbone.batch([shortest], answers=True).inputs["inputs_embeds"]
        whole = backbone.model(inputs_embeds=embeds)
        alone = backbone.model.model(inputs_embeds=embeds).last_hidden_state[0, 0]
        begun = backbone.model(inputs_embeds=embeds[:, :-1], use_cache=True)
        step = backbone.model(inputs_embeds=embeds[:, -1:], past_key_values=begun.past_key_values, use_cache=True)
    assert (padded - alone).abs().max() > 1e-3
    assert (step.logits[0, -1] - whole.logits[0, -1]).abs().max() > 1e-3
