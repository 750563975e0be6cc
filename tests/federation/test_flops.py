"""Floating point operations are counted as they are known in closed form, and counting changes nothing."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from drake.config import configure
from drake.engines.tasks import Job, perform
from drake.federation.flops import count_flops
from drake.federation.state import Progress
from drake.runs import Setup


def test_a_product_counts_a_multiplication_and_an_addition_for_every_pair():
    x, weight = torch.ones(3, 5, 7), torch.ones(11, 7, requires_grad=True)
    assert count_flops(lambda: F.linear(x, weight)) == 2 * 15 * 7 * 11
    assert count_flops(lambda: F.linear(x, weight).sum().backward()) == 2 * (2 * 15 * 7 * 11)  # x needs no gradient


def test_fused_attention_counts_its_two_products_forward_and_five_back():
    query, key, value = (torch.randn(2, 4, 16, 8, requires_grad=True) for _ in range(3))
    product = 2 * (2 * 4 * 16 * 16 * 8)
    assert count_flops(lambda: F.scaled_dot_product_attention(query, key, value)) == 2 * product
    both = count_flops(lambda: F.scaled_dot_product_attention(query, key, value).sum().backward())
    assert both == (2 + 5) * product


def test_attention_with_shared_keys_counts_the_heads_of_the_query():
    query, shared = torch.randn(2, 4, 16, 8), torch.randn(2, 2, 16, 8)
    work = lambda: F.scaled_dot_product_attention(query, shared, shared, enable_gqa=True)  # noqa: E731
    assert count_flops(work) == 2 * 2 * (2 * 4 * 16 * 16 * 8)


def test_compiled_code_counts_like_the_code_it_came_from():
    weight = torch.ones(11, 7)
    compiled = torch.compile(lambda x: F.linear(x, weight), backend="eager")
    compiled(torch.ones(3, 7))
    assert count_flops(lambda: compiled(torch.ones(3, 7))) == 2 * 3 * 7 * 11


@pytest.mark.parametrize("method", ["fedmosaic", "fedmkt"])
def test_a_counted_round_leaves_what_an_uncounted_one_leaves(method, micro_backbones, micro_data):
    numbers = {"steps": 3, "training.dropout": 0.05, "micro_batch": 2}
    models = [micro_backbones["llama-4"]]
    setup = Setup(configure(method, "quick", models=models, data=micro_data, device="cpu", **numbers))
    worker = setup.worker(0)
    client = setup.clients[0]
    job = Job(client, 0, worker.initial_state(client), None)
    first = perform(replace(job, counted=True), worker)  # pictures are encoded on the way: not part of the count
    plain = perform(job, worker)
    assert first.stats.items() > plain.stats.items()
    assert first.stats["flops"] == perform(replace(job, counted=True), worker).stats["flops"] > 0
    for name, tensor in plain.state.items():
        assert torch.equal(first.state[name], tensor)
    for name, tensor in plain.upload.tensors.items():
        assert torch.equal(first.upload.tensors[name], tensor)


def test_the_tokens_of_all_stand_for_the_operations_that_one_client_counted():
    progress = Progress()
    assert progress.flops() is None
    progress.spent("small", {"tokens": 100, "loss": 1.0})
    assert progress.flops() is None
    progress.spent("small", {"tokens": 50, "flops": 1000})
    assert progress.flops() == 150 * 20
    progress.spent("large", {})  # nothing had arrived
    assert progress.flops() == 150 * 20
    progress.spent("large", {"tokens": 10})
    assert progress.flops() is None
    progress.spent("large", {"tokens": 30, "flops": 900})
    assert progress.flops() == 150 * 20 + 40 * 30
