"""Adapters on a micro backbone: where they are, what moves in and out, what trains."""

import math

import pytest
import torch

from drake.config import preset
from drake.federation import adapters
from drake.models import backbones

TRAINING = preset("quick").training
RANK = TRAINING.rank


@pytest.fixture
def model(micro_backbones):
    return backbones.load(micro_backbones["llama-4"]).model


def random_state(model, adapter, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return {name: torch.randn(tensor.shape, generator=rng) for name, tensor in adapters.tensors(model, adapter).items()}


def assert_same(found, expected):
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@torch.no_grad()
def logits(model):
    return model(input_ids=torch.arange(20, 30)[None]).logits


def trainable(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_every_linear_layer_of_the_language_model_is_adapted_and_no_other(model):
    adapters.add(model, ["local"], TRAINING)
    places = [f"{layer}.{block}.{name}" for layer in range(4) for block, name in
              [("self_attn", n) for n in ("q_proj", "k_proj", "v_proj", "o_proj")]
              + [("mlp", n) for n in ("gate_proj", "up_proj", "down_proj")]]  # fmt: skip
    assert list(adapters.layers(model)) == places
    found = adapters.tensors(model, "local")
    assert list(found) == [f"{place}.{letter}" for place in places for letter in "AB"]
    assert found["0.mlp.up_proj.A"].shape == (RANK, 32)
    assert found["0.mlp.up_proj.B"].shape == (64, RANK)
    assert not any("lora" in name for name, _ in model.model.vision_tower.named_modules())
    assert trainable(model) == set()


def test_adding_an_adapter_twice_is_harmless(model):
    adapters.add(model, ["local"], TRAINING)
    state = random_state(model, "local")
    adapters.write(model, "local", state)
    names = [name for name, _ in model.named_parameters()]
    assert adapters.add(model, ["local"], TRAINING) is model
    assert [name for name, _ in model.named_parameters()] == names
    assert_same(adapters.read(model, "local"), state)

    adapters.add(model, ["local", "shared"], TRAINING)
    assert_same(adapters.read(model, "local"), state)
    assert list(adapters.tensors(model, "shared")) == list(state)


def test_what_is_written_is_read_and_is_a_copy(model):
    adapters.add(model, ["local", "shared"], TRAINING)
    state, untouched = random_state(model, "local"), adapters.read(model, "shared")
    adapters.write(model, "local", state)
    found = adapters.read(model, "local")
    assert_same(found, state)
    assert_same(adapters.read(model, "shared"), untouched)
    found["0.mlp.up_proj.A"].zero_()
    assert_same(adapters.read(model, "local"), state)


def test_a_part_can_be_written_and_a_strange_name_cannot(model):
    adapters.add(model, ["local"], TRAINING)
    state = random_state(model, "local")
    adapters.write(model, "local", state)
    new = torch.ones(RANK, 32)
    adapters.write(model, "local", {"2.mlp.up_proj.A": new})
    assert_same(adapters.read(model, "local"), state | {"2.mlp.up_proj.A": new})
    with pytest.raises(KeyError, match=r"9\.mlp\.up_proj\.A"):
        adapters.write(model, "local", {"9.mlp.up_proj.A": new})


def test_exactly_the_active_adapters_contribute(model):
    bare = logits(model)
    adapters.add(model, ["local", "shared"], TRAINING)
    for seed, name in enumerate(("local", "shared")):
        adapters.write(model, name, random_state(model, name, seed))
    seen = {}
    for names in ((), ("local",), ("shared",), ("local", "shared"), ()):
        adapters.activate(model, *names)
        seen[names] = logits(model)
    assert torch.equal(seen[()], bare)
    values = [bare, *(seen[names] for names in (("local",), ("shared",), ("local", "shared")))]
    assert all(not torch.allclose(a, b) for i, a in enumerate(values) for b in values[:i])


@pytest.mark.parametrize("folded_width", [0, adapters.FOLDED_WIDTH])
def test_two_adapters_at_half_share_are_their_mean(model, folded_width):
    adapters.add(model, ["local", "shared"], TRAINING)
    adapters.fold_up_to(model, folded_width)
    for seed, name in enumerate(("local", "shared")):
        adapters.write(model, name, random_state(model, name, seed))
    layer, x = adapters.layers(model)["1.mlp.up_proj"], torch.randn(3, 32, generator=torch.Generator().manual_seed(2))
    outputs = {}
    for names, share in ((("local",), 1.0), (("shared",), 1.0), (("local", "shared"), 0.5)):
        adapters.activate(model, *names, share=share)
        outputs[names] = layer(x)
    half = (outputs["local",] + outputs["shared",]) / 2
    torch.testing.assert_close(outputs["local", "shared"], half, atol=1e-3, rtol=1e-5)
    assert not torch.allclose(outputs["local",], outputs["shared",], atol=1)
    adapters.activate(model, "local")
    assert torch.equal(layer(x), outputs["local",])


def test_within_bare_the_backbone_answers_alone_and_afterwards_all_is_as_before(model):
    alone = logits(model)
    adapters.add(model, ["local", "shared"], TRAINING)
    for name in ("local", "shared"):
        adapters.write(model, name, random_state(model, name))
    for names, share in ((("local", "shared"), 0.5), (("local",), 1.0), ((), 1.0)):
        adapters.activate(model, *names, share=share)
        before = logits(model)
        with adapters.bare(model):
            assert torch.equal(logits(model), alone)
        assert torch.equal(logits(model), before)


def test_an_untrained_adapter_changes_nothing(model):
    bare = logits(model)
    adapters.add(model, ["local"], TRAINING)
    adapters.write(model, "local", adapters.fresh(model, "local", torch.Generator().manual_seed(0)))
    adapters.activate(model, "local")
    assert torch.equal(logits(model), bare)


def test_activating_leaves_gradients_alone(model):
    adapters.add(model, ["local", "shared"], TRAINING)
    chosen = adapters.train_only(model, adapters.tensors(model, "local").values())
    before = trainable(model)
    assert len(before) == len(chosen) == 4 * 7 * 2
    assert all(".local." in name for name in before)
    for names in ((), ("shared",), ("local", "shared")):
        adapters.activate(model, *names)
        assert trainable(model) == before


def test_only_what_is_chosen_trains(model):
    adapters.add(model, ["local", "shared"], TRAINING)
    adapters.train_only(model, model.parameters())
    one = adapters.tensors(model, "shared")["1.mlp.up_proj.B"]
    assert adapters.train_only(model, iter([one])) == [one]
    assert [parameter for parameter in model.parameters() if parameter.requires_grad] == [one]


def test_fresh_values_depend_on_the_generator_alone(model):
    adapters.add(model, ["local", "shared"], TRAINING)
    torch.manual_seed(1)
    first = adapters.fresh(model, "local", torch.Generator().manual_seed(5))
    adapters.write(model, "local", random_state(model, "local"))
    torch.manual_seed(2)
    global_state = torch.random.get_rng_state()
    assert_same(adapters.fresh(model, "local", torch.Generator().manual_seed(5)), first)
    assert_same(adapters.fresh(model, "shared", torch.Generator().manual_seed(5)), first)
    assert torch.equal(torch.random.get_rng_state(), global_state)
    other = adapters.fresh(model, "local", torch.Generator().manual_seed(6))
    assert not torch.equal(other["0.mlp.up_proj.A"], first["0.mlp.up_proj.A"])
    for name, tensor in first.items():
        if name.endswith(".B"):
            assert not tensor.any()
        else:
            bound = 1 / math.sqrt(tensor.shape[1])
            assert 0.8 * bound < tensor.abs().max() <= bound


def test_the_mean_weighs_everyone_alike():
    states = [{"x.B": torch.tensor([1.0, 2.0]), "a.A": torch.tensor(3.0)},
              {"x.B": torch.tensor([3.0, 0.0]), "a.A": torch.tensor(-3.0)},
              {"x.B": torch.tensor([5.0, 7.0]), "a.A": torch.tensor(0.0)}]  # fmt: skip
    assert_same(adapters.mean(states), {"x.B": torch.tensor([3.0, 3.0]), "a.A": torch.tensor(0.0)})


def test_prefixes_go_on_and_come_off():
    state = {"0.up.A": torch.ones(2), "0.up.B": torch.zeros(2)}
    stored = adapters.prefixed("local", state) | adapters.prefixed("locals", {"0.up.A": torch.full((2,), 9.0)})
    assert list(stored) == ["local.0.up.A", "local.0.up.B", "locals.0.up.A"]
    assert_same(adapters.part("local", stored), state)
    assert adapters.part("loc", stored) == {}
