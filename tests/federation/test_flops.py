"""Floating point operations are counted as they are known in closed form, the count of a run is that of PyTorch's
counter for every method, and counting changes nothing."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from drake.common.products import Products, of_checkpoints, uncounted
from drake.config import configure
from drake.engines.tasks import Job, perform
from drake.federation import registry
from drake.federation.flops import count_flops
from drake.federation.state import Progress
from drake.models.compiling import compile_training
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


def products_of(work):
    """What a run counts of this work."""
    with Products() as products:
        work()
    return products.flops


QUERY, KEY = torch.randn(2, 4, 16, 8, requires_grad=True), torch.randn(2, 2, 16, 8, requires_grad=True)
LEFT, RIGHT = torch.ones(6, 3, 5, requires_grad=True), torch.ones(5, 7)


@pytest.mark.parametrize(
    "work",
    [
        lambda: F.linear(LEFT, RIGHT.T).sum().backward(),
        lambda: (LEFT @ RIGHT).sum().backward(),
        lambda: torch.bmm(LEFT, RIGHT.expand(6, -1, -1)).sum().backward(),
        lambda: torch.matmul(LEFT[:, None], RIGHT.expand(2, -1, -1)).sum().backward(),  # rows are shared
        lambda: torch.addmm(torch.ones(7), LEFT[0], RIGHT).sum().backward(),
        lambda: F.scaled_dot_product_attention(QUERY, KEY, KEY, is_causal=True, enable_gqa=True).sum().backward(),
        lambda: F.scaled_dot_product_attention(QUERY, KEY, KEY, enable_gqa=True).detach(),
        lambda: (LEFT.detach() @ RIGHT + 1).relu(),
        lambda: LEFT @ torch.ones(5),
    ],
)
def test_operations_follow_from_shapes_as_pytorch_counts_them(work):
    assert products_of(work) == count_flops(work)


def test_layers_that_are_computed_again_count_again():
    weight, x = torch.ones(7, 7, requires_grad=True), torch.ones(3, 7, requires_grad=True)

    def work():
        layer = lambda x: F.linear(F.linear(x, weight), weight).relu()  # noqa: E731
        again = torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False, context_fn=of_checkpoints)
        again.sum().backward()

    assert products_of(work) == count_flops(work) == (2 + 2 + 4) * 2 * 3 * 7 * 7


def test_what_is_no_training_does_not_count():
    with Products() as products, uncounted():
        F.linear(torch.ones(3, 5), torch.ones(7, 5))
    assert products.flops == 0


def test_layers_run_as_written_while_they_are_counted():
    layers = torch.nn.ModuleList([torch.nn.Linear(7, 11)])
    compile_training(layers, backend="eager")
    work = lambda: layers[0](torch.ones(3, 7)).sum().backward()  # noqa: E731
    assert products_of(work) == 2 * (2 * 3 * 7 * 11)


SPECIAL = {
    "fedsim": {"gradient_checkpointing": True},
    "feddat": {"training.dropout": 0.05},  # adapters beside the weights, not folded into them
    "fedmosaic": {"fedmosaic.align": False},
    "perada": {"perada.passes": 0},  # the server's work is not a client's
    "takfl": {"takfl.passes": 0},
}


@pytest.mark.parametrize("name", registry.names())
def test_a_round_counts_the_operations_that_pytorch_counts(name, micro_backbones, micro_data):
    """Of every method, in its second round, to the last operation: with dropout or without, and with layers that are
    computed again on the way back."""
    held = ("llama-6", "llama-4") if name == "fedmosaic" else ("llama-4",)  # its probes go through the smaller one
    numbers = {"steps": 2, "micro_batch": 2, "models": [micro_backbones[short] for short in held]}
    setup = Setup(configure(name, "quick", data=micro_data, device="cpu", **numbers, **SPECIAL.get(name, {})))
    worker, client = setup.worker(0), setup.clients[0]
    first = perform(Job(client, 0, worker.initial_state(client), None), worker)
    downloads = worker.method.aggregate(0, {0: first.upload}, worker.federation) if first.upload else {}
    job, results = Job(client, 1, first.state, downloads.get(0), counted=True), []
    perform(job, worker)  # pictures are encoded on the way, which is not counted
    pytorch = count_flops(lambda: results.append(perform(job, worker)))
    assert results[0].stats["flops"] == pytorch > 0


def test_the_encoding_of_pictures_is_not_counted(micro_backbones, micro_data):
    models = [micro_backbones["llama-4"]]
    setup = Setup(configure("sft", "quick", models=models, data=micro_data, device="cpu", steps=2, micro_batch=2))
    worker, found = setup.worker(0), []
    for _ in range(2):  # the second time they are in the cache
        job = Job(setup.clients[0], 0, worker.initial_state(setup.clients[0]), None, counted=True)
        found.append(perform(job, worker).stats["flops"])
    assert found[0] == found[1] > 0


@pytest.mark.parametrize("method", ["fedmosaic", "fedmkt"])
def test_a_counted_round_leaves_what_an_uncounted_one_leaves(method, micro_backbones, micro_data):
    numbers = {"steps": 3, "training.dropout": 0.05, "micro_batch": 2}
    models = [micro_backbones["llama-4"]]
    setup = Setup(configure(method, "quick", models=models, data=micro_data, device="cpu", **numbers))
    worker = setup.worker(0)
    client = setup.clients[0]
    job = Job(client, 0, worker.initial_state(client), None)
    first = perform(replace(job, counted=True), worker)
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
