"""FedSim answers from two passes, each with its own cache; the others from one."""

from __future__ import annotations

import pytest
import torch

from drake.data.benchmark import load
from drake.federation.adapters import prefixed
from drake.federation.method import Download
from drake.scoring.generation import generate

NEW_TOKENS = 3


@pytest.fixture
def prompts(bench, micro_data):
    """Two records whose prompts differ in length, padded left."""
    data = load(micro_data)
    batch = bench.backbone.batch([data.records(task, "test")[0] for task in ("NLVR2-0", "IRFL-0")], answers=False)
    assert not batch.inputs["attention_mask"].all()
    return batch


@torch.no_grad()
def summed(bench, batch, tokens):
    """z_G + z_L of the prompts with `tokens` [B, n] behind them, from the whole sequence at once, of its last n + 1."""
    g, l = bench.adapters[:2]  # noqa: E741
    count = tokens.shape[1]
    embeds = bench.plain.model.get_input_embeddings()(tokens)
    mask, positions = batch.inputs["attention_mask"], batch.inputs["position_ids"]
    inputs = {
        "inputs_embeds": torch.cat([batch.inputs["inputs_embeds"], embeds], dim=1),
        "attention_mask": torch.cat([mask, mask.new_ones(len(mask), count)], dim=1),
        "position_ids": torch.cat([positions, positions[:, -1:] + 1 + torch.arange(count)], dim=1),
    }
    return (bench.plain(inputs, g) + bench.plain(inputs, l))[:, -1 - count :]


def ready_model(bench, name):
    method, model = bench.method(name)
    own, personal, _ = bench.adapters
    method.for_inference(bench.now(model, prefixed("shared", own) | prefixed("personal", personal)))
    return model.eval()


@torch.no_grad()
def test_fedsim_adds_logits_at_prefill_and_at_every_decoded_token(bench, prompts):
    model = ready_model(bench, "fedsim")
    tokens = torch.tensor([[5, 9], [11, 7]])
    expected = summed(bench, prompts, tokens)
    output = model(**prompts.inputs, use_cache=True, logits_to_keep=1)
    torch.testing.assert_close(output.logits, expected[:, :1], atol=1e-5, rtol=1e-5)
    mask, positions = prompts.inputs["attention_mask"], prompts.inputs["position_ids"]
    for place in range(2):
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        positions = positions[:, -1:] + 1
        output = model(
            input_ids=tokens[:, place : place + 1],
            attention_mask=mask,
            position_ids=positions,
            past_key_values=output.past_key_values,
            use_cache=True,
            logits_to_keep=1,
        )
        torch.testing.assert_close(output.logits, expected[:, place + 1 : place + 2], atol=1e-5, rtol=1e-5)


def test_fedsim_generates_the_best_token_of_the_sum(bench, prompts):
    rows = torch.tensor(generate(ready_model(bench, "fedsim"), prompts, [], NEW_TOKENS))
    assert torch.equal(summed(bench, prompts, rows[:, :-1]).argmax(-1), rows)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "adapters", "share"),
    [
        ("fedit", ("shared",), 1.0),
        ("ditto", ("personal",), 1.0),
        ("feddat", ("personal", "shared"), 0.5),
        ("feddpa", ("personal", "shared"), 0.5),
    ],
)
def test_a_client_answers_with_these_adapters_the_shared_one_as_received(bench, prompts, name, adapters, share):
    method, model = bench.method(name)
    own, personal, received = bench.adapters
    state = prefixed("shared", own) | prefixed("personal", personal)
    for download, shared in ((None, own), (Download(prefixed("shared", received)), received)):
        method.for_inference(bench.now(model, state, download))
        found = model.eval()(**prompts.inputs, use_cache=True, logits_to_keep=1).logits
        parts = [{"shared": shared, "personal": personal}[adapter] for adapter in adapters]
        expected = bench.plain(prompts.inputs, *parts, share=share)[:, -1:]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
