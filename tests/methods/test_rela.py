"""RELA: weights, the closed-form gradient against autograd, and what sanitising keeps."""

import math

import pytest
import torch
from drake_methods.rela import (
    kept_rows,
    last_layer_gradient,
    mixing_weights,
    sanitise,
    spread,
    task_relevance,
    weights_over,
)
from hypothesis import given
from hypothesis import strategies as st

from drake.data.benchmark import load
from drake.models import backbones


def random_gradients(clients: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(clients, 5, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_relevance_is_the_mean_column_cosine():
    gradients = random_gradients(3)
    expected = torch.nn.functional.cosine_similarity(gradients[0], gradients[2], dim=0).mean()
    found = task_relevance(gradients)
    torch.testing.assert_close(found[0, 2], expected)
    torch.testing.assert_close(found.diagonal(), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(found, found.T)


def test_relevance_ignores_the_scale_of_a_gradient_and_columns_of_zeros_count_as_unlike():
    gradients = random_gradients(2)
    torch.testing.assert_close(task_relevance([7 * gradients[0], gradients[1]]), task_relevance(gradients))
    gradients[0, :, :] = 0
    assert task_relevance(gradients)[0, 1] == 0


@given(st.integers(1, 8), st.floats(0.05, 5))
def test_weights_are_a_distribution_that_follows_relevance(others, temperature):
    relevance = torch.rand(others, generator=torch.Generator().manual_seed(others), dtype=torch.float64)
    weights = weights_over(relevance, temperature)
    torch.testing.assert_close(weights.sum(), torch.tensor(1.0, dtype=torch.float64))
    assert torch.equal(weights.argsort(), relevance.argsort())


def test_weights_by_hand():
    found = weights_over(torch.tensor([0.5, 0.0], dtype=torch.float64), 0.5)
    expected = torch.tensor([math.e, 1.0], dtype=torch.float64) / (1 + math.e)
    torch.testing.assert_close(found, expected)


@given(st.integers(2, 8), st.floats(0.05, 5))
def test_the_weights_of_all_clients_are_those_over_the_others(clients, temperature):
    relevance = task_relevance(random_gradients(clients))
    weights = mixing_weights(relevance, temperature)
    torch.testing.assert_close(weights.sum(1), torch.ones(clients, dtype=torch.float64))
    assert (weights.diagonal() == 0).all()
    others = [j for j in range(clients) if j != 1]
    torch.testing.assert_close(weights[1, others], weights_over(relevance[1, others], temperature))


def test_a_client_alone_gives_nobody_weight():
    assert mixing_weights(torch.ones(1, 1)).tolist() == [[0.0]]


def test_the_relevance_that_is_kept_is_unknown_for_clients_that_have_sent_nothing():
    relevance = torch.tensor([[1.0, 0.25], [0.25, 1.0]])
    found = spread(relevance, [0, 2], 3)
    assert found[[0, 0, 2, 2], [0, 2, 0, 2]].tolist() == [1.0, 0.25, 0.25, 1.0]
    assert found[1].isnan().all()
    assert found[:, 1].isnan().all()


@pytest.fixture(params=["llama-4", "qwen-4"])
def probe(request, micro_backbones, micro_data):
    """A backbone in float64 and five records."""
    backbone = backbones.load(micro_backbones[request.param], dtype=torch.float64)
    records = load(micro_data).records("NLVR2-0", "train")
    return backbone, backbone.batch([records[row] for row in range(5)], answers=True)


def test_closed_form_gradient_equals_autograd_through_the_model(probe):
    backbone, batch = probe
    weight = backbone.model.model.language_model.layers[-1].mlp.down_proj.weight.requires_grad_(True)
    logits, targets = backbones.answer_logits(backbone.model, batch)
    torch.nn.functional.cross_entropy(logits, targets).backward()
    found = last_layer_gradient(backbone.model, batch)
    assert found.shape == weight.shape
    # 1e-6: the model's own norms pass through float32.
    assert (found - weight.grad).norm() / weight.grad.norm() < 1e-6


def test_closed_form_gradient_equals_autograd_to_the_last_digits_of_float64(probe):
    backbone, batch = probe
    decoder, seen = backbone.model.model.language_model, {}
    down = decoder.layers[-1].mlp.down_proj
    down.register_forward_pre_hook(lambda _, inputs: seen.update(u=inputs[0]))
    decoder.norm.register_forward_pre_hook(lambda _, inputs: seen.update(x=inputs[0]))
    with torch.no_grad():
        backbone.model.model(inputs_embeds=batch.inputs["inputs_embeds"])
    weight = down.weight.detach().clone().requires_grad_(True)
    x = seen["x"] + seen["u"] @ (weight - weight.detach()).T
    y = decoder.norm.weight * x / (x.square().mean(-1, keepdim=True) + decoder.norm.variance_epsilon).sqrt()
    targets = batch.labels[:, 1:]
    logits = backbone.model.lm_head(y[:, :-1][targets != -100])
    torch.nn.functional.cross_entropy(logits, targets[targets != -100]).backward()
    found = last_layer_gradient(backbone.model, batch)
    assert (found - weight.grad).norm() / weight.grad.norm() < 1e-10


def test_kept_rows_are_sorted_and_the_same_for_all_who_know_the_seed():
    rows = kept_rows(10, 0.4, torch.Generator().manual_seed(3))
    assert len(rows) == 4
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert torch.equal(rows, kept_rows(10, 0.4, torch.Generator().manual_seed(3)))


def test_sanitising_keeps_only_these_rows_and_adds_the_noise_asked_for():
    gradient, rows = torch.randn(1000, 50), torch.arange(0, 1000, 2)
    assert torch.equal(sanitise(gradient, rows, 0.0, torch.Generator()), gradient[rows])
    noise = sanitise(gradient, rows, 0.1, torch.Generator().manual_seed(0)) - gradient[rows]
    assert noise.std().item() == pytest.approx(0.1, rel=0.02)


def test_laplace_noise_has_the_same_spread_and_heavier_tails():
    gradient, rows = torch.zeros(2000, 100), torch.arange(2000)
    laplace = sanitise(gradient, rows, 0.1, torch.Generator().manual_seed(0), "laplace")
    assert laplace.std().item() == pytest.approx(0.1, rel=0.02)
    assert (laplace.abs() > 0.4).double().mean().item() == pytest.approx(
        torch.tensor(-4 * 2**0.5).exp().item(), rel=0.2
    )


def test_the_prefix_is_the_first_rows():
    assert kept_rows(10, 0.4).tolist() == [0, 1, 2, 3]


def test_the_diagonal_jacobian_is_the_diagonal_of_autograds(probe):
    backbone, batch = probe
    decoder, seen = backbone.model.model.language_model, {}
    decoder.layers[-1].mlp.down_proj.register_forward_pre_hook(lambda _, inputs: seen.update(u=inputs[0]))
    decoder.norm.register_forward_pre_hook(lambda _, inputs: seen.update(x=inputs[0]))
    found = last_layer_gradient(backbone.model, batch, diagonal=True)
    targets = batch.labels[:, 1:]
    chosen = targets != -100
    x, u = seen["x"][:, :-1][chosen].double(), seen["u"][:, :-1][chosen].double()

    def norm(row):
        return decoder.norm.weight.double() * row / (row.square().mean() + decoder.norm.variance_epsilon).sqrt()

    expected = torch.zeros_like(found)
    for row, entry, target in zip(x, u, targets[chosen], strict=True):
        y = norm(row).detach().requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(backbone.model.lm_head(y)[None], target[None]) / len(x)
        upstream = torch.autograd.grad(loss, y)[0]
        diagonal = torch.autograd.functional.jacobian(norm, row).diagonal()
        expected += torch.outer(upstream * diagonal, entry)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-6)
