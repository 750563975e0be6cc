"""Co-LoRA: places, orthonormal factors, the layer's arithmetic and Theorem 1."""

import pytest
import torch
from drake_methods.colora import (
    GLOBAL,
    LOCAL,
    MosaicLinear,
    attach,
    co_lora_layers,
    gates,
)
from drake_methods.frozen import orthonormal

from drake.config import preset
from drake.errors import DrakeError
from drake.federation import adapters
from drake.models import backbones

TRAINING = preset("mini").training


def update_dimension(a, b, tolerance=1e-8):
    """The dimension of the space {B P A : P} found numerically (Theorem 1): the span of the r^2 outer products
    b[:, i] a[j, :]. a [r, d_in], b [d_out, r]."""
    basis = torch.einsum("oi,jd->ijod", b.double(), a.double()).flatten(2).flatten(0, 1)
    return int(torch.linalg.matrix_rank(basis, rtol=tolerance))


def test_last_layer_of_each_block():
    assert co_lora_layers(14, 4) == [2, 5, 8, 13]
    assert co_lora_layers(5, 1) == [4]


def test_no_blocks_no_co_lora():
    assert co_lora_layers(5, 0) == []


@pytest.mark.parametrize("blocks", [-1, 5])
def test_impossible_numbers_of_blocks_are_refused(blocks):
    with pytest.raises(DrakeError, match="blocks"):
        co_lora_layers(4, blocks)


def test_orthonormal_rows():
    a = orthonormal(6, 20, torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(a @ a.T, torch.eye(6, dtype=torch.float64), atol=1e-6, rtol=0)
    with pytest.raises(DrakeError, match="rank 6 exceeds the width 5"):
        orthonormal(6, 5, torch.Generator())


def test_theorem_1_updates_span_r_squared_dimensions_and_fewer_without_full_rank():
    rng = torch.Generator().manual_seed(0)
    a, b = orthonormal(4, 12, rng), orthonormal(4, 10, rng).T
    assert update_dimension(a, b) == 16
    a[3] = a[2]
    assert update_dimension(a, b) == 12
    b[:, 0] = 0
    assert update_dimension(a, b) == 9


@pytest.fixture
def model(micro_backbones):
    backbone = backbones.load(micro_backbones["llama-6"])
    return attach(backbone.model, TRAINING, co_lora_layers(6, 4))


def randomise(model):
    rng = torch.Generator().manual_seed(0)
    for name in (LOCAL, GLOBAL):
        state = adapters.read(model, name)
        adapters.write(model, name, {key: torch.randn(t.shape, generator=rng) * 0.3 for key, t in state.items()})
    with torch.no_grad():
        for beta in gates(model).values():
            beta.copy_(torch.randn((), generator=rng))


def test_p_and_q_stand_on_the_last_layer_of_each_block_only(model):
    with_p = {int(name.split(".")[0]) for name in adapters.read(model, LOCAL) if name.endswith(".P")}
    assert with_p == set(co_lora_layers(6, 4)) == {0, 1, 2, 5}
    assert len(gates(model)) == 6 * 7


@pytest.mark.parametrize("place", ["4.mlp.up_proj", "5.self_attn.v_proj"], ids=["conventional", "co-lora"])
def test_a_layer_computes_the_gated_sum_of_both_modules(model, place):
    randomise(model)
    layer: MosaicLinear = adapters.layers(model)[place]
    x = torch.randn(2, 3, layer.in_features)

    def module(name):
        h = x @ layer.lora_A[name].weight.T
        if name in layer.lora_P:
            h = h @ layer.lora_P[name].T + layer.lora_Q[name]
        return h @ layer.lora_B[name].weight.T * TRAINING.alpha / TRAINING.rank

    gate = torch.sigmoid(layer.lora_gate)
    expected = layer.base_layer(x) + (1 - gate) * module(LOCAL) + gate * module(GLOBAL)
    torch.testing.assert_close(layer(x), expected)
    assert (place in {"5.self_attn.v_proj"}) == (LOCAL in layer.lora_P)


def test_without_active_adapters_the_backbone_answers_alone(model, micro_backbones):
    randomise(model)
    ids = torch.randint(10, 200, (2, 9), generator=torch.Generator().manual_seed(1))
    bare = backbones.load(micro_backbones["llama-6"]).model
    adapters.activate(model)
    torch.testing.assert_close(model(input_ids=ids).logits, bare(input_ids=ids).logits)
    adapters.activate(model, LOCAL, GLOBAL)
    assert not torch.allclose(model(input_ids=ids).logits, bare(input_ids=ids).logits, atol=1e-3)
