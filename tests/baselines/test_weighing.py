"""FedDPA's weight of the personal adapter, where it follows the question."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from drake_baselines.weighing import Sampled

from drake.config import preset
from drake.data.benchmark import load
from drake.errors import DrakeError
from drake.federation import registry
from drake.federation.adapters import bare, prefixed
from drake.federation.method import Client, ClientRound, Download
from drake.models import backbones
from drake.scoring.generation import generate

MOST = 0.8


@pytest.fixture
def prompts(bench, micro_data):
    """Two records whose prompts differ in length, padded left."""
    data = load(micro_data)
    records = [data.records(task, "test")[0] for task in ("NLVR2-0", "IRFL-0")]
    return SimpleNamespace(
        both=bench.backbone.batch(records, answers=False),
        each=[bench.backbone.batch([record], answers=False) for record in records],
    )


def unit(bench, inputs, adapter):
    """h / |h| of the last token of one row without padding, with one adapter: hidden states are read where lm_head
    would, by leaving it out."""
    head = bench.plain.model.lm_head
    try:
        bench.plain.model.lm_head = torch.nn.Identity()
        hidden = bench.plain(inputs, adapter)[0, -1]
    finally:
        bench.plain.model.lm_head = head
    return hidden / hidden.norm()


def apart(first, second):
    """What is half like the first and half unlike the second, which are much alike."""
    return (first - second) / (first - second).square().sum()


def ready_model(bench, own, **options):
    method, model = bench.method("feddpa", **({"samples": 2, "most": MOST} | options))
    g, l, received = bench.adapters  # noqa: E741
    state = prefixed("shared", g) | prefixed("personal", l) | {"own": own}
    method.for_inference(bench.now(model, state, Download(prefixed("shared", received))))
    return model.eval()


def scaled(adapter, factor):
    return {name: tensor * factor if name.endswith(".B") else tensor for name, tensor in adapter.items()}


@torch.no_grad()
def test_every_question_weighs_the_personal_adapter_by_its_likeness_to_the_clients_own(bench, prompts):
    _, l, received = bench.adapters  # noqa: E741
    likenesses = [unit(bench, batch.inputs, l) for batch in prompts.each]
    own = apart(*likenesses)
    found = ready_model(bench, own)(**prompts.both.inputs, use_cache=True, logits_to_keep=1).logits
    weights = [MOST * float(likeness @ own) for likeness in likenesses]
    assert weights == pytest.approx([MOST / 2, -MOST / 2], abs=1e-3)
    for row, (batch, w) in enumerate(zip(prompts.each, weights, strict=True)):
        expected = bench.plain(batch.inputs, scaled(received, 1 - w), scaled(l, w))[0, -1]
        torch.testing.assert_close(found[row, -1], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_answers_tokens_keep_the_weight_of_their_question(bench, prompts):
    _, l, received = bench.adapters  # noqa: E741
    own = apart(*(unit(bench, batch.inputs, l) for batch in prompts.each))
    model, tokens = ready_model(bench, own), torch.tensor([[5, 9], [11, 7]])
    output, mask = model(**prompts.both.inputs, use_cache=True), prompts.both.inputs["attention_mask"]
    positions, found = prompts.both.inputs["position_ids"], []
    for place in range(2):
        mask, positions = torch.cat([mask, mask.new_ones(2, 1)], dim=1), positions[:, -1:] + 1
        inputs = {"input_ids": tokens[:, place, None], "attention_mask": mask, "position_ids": positions}
        output = model(**inputs, past_key_values=output.past_key_values, use_cache=True, logits_to_keep=1)
        found.append(output.logits)
    for row, batch in enumerate(prompts.each):
        w = MOST * float(unit(bench, batch.inputs, l) @ own)
        embeds = bench.plain.model.get_input_embeddings()(tokens[row, None])
        inputs = {"inputs_embeds": torch.cat([batch.inputs["inputs_embeds"], embeds], dim=1)}
        expected = bench.plain(inputs, scaled(received, 1 - w), scaled(l, w))[0, -2:]
        torch.testing.assert_close(torch.cat(found, dim=1)[row], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_client_that_has_not_trained_answers_with_the_shared_adapter_alone(bench, prompts):
    method, model = bench.method("feddpa", samples=2)
    start = method.initial_state(bench.now(model))
    found = ready_model(bench, start["own"])(**prompts.both.inputs, use_cache=True, logits_to_keep=1).logits
    expected = bench.plain(prompts.both.inputs, bench.adapters[2])[:, -1:]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_client_keeps_the_mean_direction_of_its_own_prompts_and_sends_nothing_of_it(bench, prompts):
    method, model = bench.method("feddpa", samples=2)
    start = prefixed("shared", bench.adapters[0]) | prefixed("personal", bench.adapters[1])
    result = method.local_update(bench.now(model, start), bench.steps)
    l = {name.removeprefix("personal."): t for name, t in result.state.items() if name.startswith("personal.")}  # noqa: E741
    embeddings = []
    for step in bench.steps:
        length = int((step[0].labels[0] == -100).int().argmin())
        embeddings.append(step[0].inputs["inputs_embeds"][:1, :length])
    expected = sum(unit(bench, {"inputs_embeds": prompt}, l) for prompt in embeddings) / 2
    torch.testing.assert_close(result.state["own"], expected, atol=1e-5, rtol=1e-5)
    assert {name.split(".")[0] for name in result.upload.tensors} == {"shared"}
    assert result.stats["tokens"] == sum(prompt.shape[1] for prompt in embeddings) / 2
    assert method.initial_state(bench.now(model)).keys() == result.state.keys()


def test_it_trains_as_without(bench):
    start = prefixed("shared", bench.adapters[0]) | prefixed("personal", bench.adapters[1])
    weighed, plain = (bench.round("feddpa", start, samples=samples) for samples in (3, 0))
    assert all(torch.equal(weighed.state[name], tensor) for name, tensor in plain.state.items())
    assert weighed.stats["loss"] == plain.stats["loss"]


def test_after_an_answer_and_after_one_that_failed_the_layers_are_as_before(bench, prompts, monkeypatch):
    model = ready_model(bench, torch.ones(bench.backbone.hidden_size))
    generate(model, prompts.both, [], 2)
    with monkeypatch.context() as patch:
        patch.setattr(model.language_model.lm_head, "forward", out_of_memory)
        with pytest.raises(RuntimeError, match="memory"):
            generate(model, prompts.both, [], 2)
    with torch.no_grad(), bare(model.language_model):
        found = model.language_model(**prompts.both.inputs, use_cache=False).logits
    torch.testing.assert_close(found, bench.plain(prompts.both.inputs).detach(), atol=1e-6, rtol=1e-6)
    start = prefixed("shared", bench.adapters[0]) | prefixed("personal", bench.adapters[1])
    method, _ = bench.method("feddpa", samples=2)
    result = method.local_update(bench.now(model, start), bench.steps)
    expected = bench.round("feddpa", start, samples=2)
    assert all(torch.equal(result.state[name], tensor) for name, tensor in expected.state.items())


def out_of_memory(*_):
    raise RuntimeError("out of memory")


def test_bfloat16_backbones_answer_alike_with_weights_in_float32(micro_backbones, micro_data):
    training = replace(preset("quick").training, rank=4)
    backbone = backbones.load(micro_backbones["llama-4"], dtype=torch.bfloat16)
    client, data = Client(0, "llama-4", ("NLVR2-0",)), load(micro_data).records("NLVR2-0", "train")
    records = [data[0], data[1]]
    method = registry.find("feddpa")(training, {"preset": "official"})
    model = method.attach(backbone, client)
    now = ClientRound(client, backbone, model, training, generator=torch.Generator().manual_seed(0))
    step = [backbone.batch(records, answers=True)]
    result = method.local_update(replace(now, state=method.initial_state(now)), [step] * 2)
    method.for_inference(replace(now, state=result.state))
    output = model.eval()(**backbone.batch(records, answers=False).inputs, use_cache=True, logits_to_keep=1)
    w = output.past_key_values[1]
    assert w.dtype == result.state["own"].dtype == torch.float32
    assert w[0].item() == pytest.approx(0.5, abs=0.01)  # the first record is all the client knows
    assert output.logits.isfinite().all()


@pytest.mark.parametrize(
    ("steps", "count", "chosen"), [(8, 5, [0, 1, 3, 4, 6]), (2, 5, [0, 1]), (5, 5, [0, 1, 2, 3, 4]), (95, 1, [0])]
)
def test_the_samples_are_spread_over_the_round(steps, count, chosen):
    sampled = Sampled([[SimpleNamespace(records=(number, "another"))] for number in range(steps)], count)
    assert len(list(sampled)) == len(sampled) == steps
    assert sampled.records == chosen


@pytest.mark.parametrize("options", [{"samples": -1}, {"samples": 5, "most": 1.5}])
def test_impossible_options_are_refused(bench, options):
    with pytest.raises(DrakeError, match="feddpa needs samples >= 0 and most from 0 to 1, not "):
        bench.method("feddpa", **options)


def test_most_without_samples_would_change_nothing(bench):
    with pytest.raises(DrakeError, match=r"feddpa.most is 0.3, which has no effect without feddpa.samples"):
        bench.method("feddpa", most=0.3)
