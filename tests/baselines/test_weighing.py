"""FedDPA's weight of the personal adapter, where it follows the question."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from drake_baselines.weighing import Sampled

from drake.benchmark import load
from drake.errors import DrakeError
from drake.federation.adapters import bare, prefixed
from drake.federation.method import Download
from drake.scoring.evaluate import generate

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


def seated(bench, own, **options):
    method, model = bench.method("feddpa", **({"samples": 2, "most": MOST} | options))
    g, l, received = bench.adapters  # noqa: E741
    state = prefixed("shared", g) | prefixed("personal", l) | {"own": own}
    method.for_inference(model, state, Download(prefixed("shared", received)))
    return model.eval()


def scaled(adapter, factor):
    return {name: tensor * factor if name.endswith(".B") else tensor for name, tensor in adapter.items()}


@torch.no_grad()
def test_every_question_weighs_the_personal_adapter_by_its_likeness_to_the_clients_own(bench, prompts):
    _, l, received = bench.adapters  # noqa: E741
    likenesses = [unit(bench, batch.inputs, l) for batch in prompts.each]
    own = apart(*likenesses)
    found = seated(bench, own)(**prompts.both.inputs, use_cache=True, logits_to_keep=1).logits
    weights = [MOST * float(likeness @ own) for likeness in likenesses]
    assert weights == pytest.approx([MOST / 2, -MOST / 2], abs=1e-3)
    for row, (batch, w) in enumerate(zip(prompts.each, weights, strict=True)):
        expected = bench.plain(batch.inputs, scaled(received, 1 - w), scaled(l, w))[0, -1]
        torch.testing.assert_close(found[row, -1], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_answers_tokens_keep_the_weight_of_their_question(bench, prompts):
    _, l, received = bench.adapters  # noqa: E741
    own = apart(*(unit(bench, batch.inputs, l) for batch in prompts.each))
    rows = generate(seated(bench, own), prompts.both, [], 3)
    for row, batch in zip(rows, prompts.each, strict=True):
        w = MOST * float(unit(bench, batch.inputs, l) @ own)
        embeds = bench.plain.model.get_input_embeddings()(torch.tensor([row[:-1]]))
        inputs = {"inputs_embeds": torch.cat([batch.inputs["inputs_embeds"], embeds], dim=1)}
        logits = bench.plain(inputs, scaled(received, 1 - w), scaled(l, w))[0, -3:]
        assert logits.argmax(-1).tolist() == row


@torch.no_grad()
def test_a_client_that_has_not_trained_answers_with_the_shared_adapter_alone(bench, prompts):
    method, model = bench.method("feddpa", samples=2)
    start = method.initial_state(model, None, torch.Generator().manual_seed(0))
    found = seated(bench, start["own"])(**prompts.both.inputs, use_cache=True, logits_to_keep=1).logits
    expected = bench.plain(prompts.both.inputs, bench.adapters[2])[:, -1:]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_client_keeps_the_mean_direction_of_its_own_prompts_and_sends_nothing_of_it(bench, prompts):
    method, model = bench.method("feddpa", samples=2)
    start = prefixed("shared", bench.adapters[0]) | prefixed("personal", bench.adapters[1])
    result = method.local_update(model, start, None, bench.steps, torch.Generator())
    l = {name.removeprefix("personal."): t for name, t in result.state.items() if name.startswith("personal.")}  # noqa: E741
    embeddings = []
    for step in bench.steps:
        length = int((step[0].labels[0] == -100).int().argmin())
        embeddings.append(step[0].inputs["inputs_embeds"][:1, :length])
    expected = sum(unit(bench, {"inputs_embeds": prompt}, l) for prompt in embeddings) / 2
    torch.testing.assert_close(result.state["own"], expected, atol=1e-5, rtol=1e-5)
    assert {name.split(".")[0] for name in result.upload.tensors} == {"shared"}
    assert result.stats["tokens"] == sum(prompt.shape[1] for prompt in embeddings) / 2
    assert method.initial_state(model, None, torch.Generator()).keys() == result.state.keys()


def test_it_trains_as_without(bench):
    start = prefixed("shared", bench.adapters[0]) | prefixed("personal", bench.adapters[1])
    weighed, plain = (bench.round("feddpa", start, samples=samples) for samples in (3, 0))
    assert all(torch.equal(weighed.state[name], tensor) for name, tensor in plain.state.items())
    assert weighed.stats["loss"] == plain.stats["loss"]


def test_the_bare_backbone_and_training_are_as_before_after_an_answer(bench, prompts):
    model = seated(bench, torch.ones(bench.backbone.hidden_size))
    generate(model, prompts.both, [], 2)
    with torch.no_grad(), bare(model.language_model):
        found = model.language_model(**prompts.both.inputs, use_cache=False).logits
    torch.testing.assert_close(found, bench.plain(prompts.both.inputs).detach(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("steps", "count", "chosen"), [(8, 5, [0, 1, 3, 4, 6]), (2, 5, [0, 1]), (5, 5, [0, 1, 2, 3, 4]), (95, 1, [0])]
)
def test_the_samples_are_spread_over_the_round(steps, count, chosen):
    def batch(number):
        inputs = {"inputs_embeds": torch.full((2, 4, 3), float(number))}
        return SimpleNamespace(inputs=inputs, labels=torch.tensor([[-100, -100, 7, 8], [-100, 5, 6, 7]]))

    sampled = Sampled([[batch(number)] for number in range(steps)], count)
    assert len(list(sampled)) == len(sampled) == steps
    assert [prompt[0, 0, 0].item() for prompt in sampled.prompts] == chosen
    assert all(prompt.shape == (1, 2, 3) for prompt in sampled.prompts)


@pytest.mark.parametrize("options", [{"samples": -1}, {"most": 1.5}])
def test_impossible_options_are_refused(bench, options):
    with pytest.raises(DrakeError, match="feddpa needs samples >= 0 and most from 0 to 1, not "):
        bench.method("feddpa", **options)
