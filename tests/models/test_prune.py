"""Cutting a medium backbone to a small one, and distilling."""

from random import Random

import pytest
import torch

from drake.data.sources.mini.worlds import all_worlds
from drake.models.prompts import Chat
from drake.models.tiny import Shape, distil, new_model, new_processor, new_tokenizer
from drake.models.tiny.corpus import collate
from drake.models.tiny.instructions import Questions, as_items
from drake.models.tiny.prune import cut, hidden_states, kept_layers, measure

MEDIUM = {family: Shape(family, layers=4, width=24, feed_forward=48) for family in ("llama", "qwen")}


def questions(part="test") -> Questions:
    world = next(iter(all_worlds().values()))
    return Questions([world], seed=0, part=part, excluded=frozenset())


@pytest.fixture(scope="module", params=list(MEDIUM))
def medium(request):
    """(shape, model with other gains than 1 and biases than 0, chat)."""
    shape = MEDIUM[request.param]
    drafts = [questions().draw().draft for _ in range(5)]
    tokenizer = new_tokenizer(shape.family, [draft.prompt for draft in drafts], 400)
    model = new_model(shape, tokenizer, seed=0).eval()
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layernorm" in name and "vision" not in name:
                parameter.copy_(1 + 0.3 * torch.rand(parameter.shape, generator=noise))
            if name.endswith("_proj.bias"):
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=noise))
    return shape, model, Chat(new_processor(shape.family, tokenizer))


def batch(model, chat):
    drawn = questions()
    items, seen = as_items([drawn.draw() for _ in range(6)], chat, model.model.vision_tower)
    pad = chat.tokenizer.pad_token_id
    ids, labels, raw = collate(items, seen, model.config.image_token_index, pad)
    return ids, labels, raw, ids != pad


def logits(model, ids, raw, counted):
    last = hidden_states(model, ids, raw)[-1]
    return model.lm_head(model.model.language_model.norm(last[counted]))


def test_layers_are_kept_at_equal_relative_depth():
    assert kept_layers(14, 8) == [1, 3, 4, 6, 8, 9, 11, 13]
    assert kept_layers(12, 8) == [1, 2, 3, 5, 7, 8, 9, 11]
    assert kept_layers(4, 4) == [0, 1, 2, 3]


@torch.no_grad()
def test_hidden_states_are_those_that_the_model_gives(medium):
    _, model, chat = medium
    ids, _, raw, _ = batch(model, chat)
    found = hidden_states(model, ids, raw)
    expected = model.model.language_model(inputs_embeds=found[0], output_hidden_states=True, use_cache=False)
    assert len(found) == len(expected.hidden_states) == 5
    for ours, theirs in zip(found[:-1], expected.hidden_states[:-1], strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(model.model.language_model.norm(found[-1]), expected.last_hidden_state)


@torch.no_grad()
def test_a_model_cut_to_its_own_shape_answers_the_same(medium):
    shape, model, chat = medium
    ids, _, raw, counted = batch(model, chat)
    same = new_model(shape, chat.tokenizer, seed=1)
    turn = cut(model, same, measure(model, [(ids, counted, raw)]))
    torch.testing.assert_close(turn.T @ turn, torch.eye(24))
    torch.testing.assert_close(logits(same, ids, raw, counted), logits(model, ids, raw, counted), rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_channels_that_carry_nothing_are_the_ones_cut(medium):
    """A stream, units and values that use a part of their channels: the cut model has lost nothing."""
    shape, model, chat = medium
    small_shape = shape._replace(width=20, feed_forward=40)
    model = type(model)(model.config).eval()
    model.load_state_dict(medium[1].state_dict())
    model.get_input_embeddings().weight[:, 20:] = 0
    projector = model.model.multi_modal_projector
    projector.linear_2.weight[20:] = 0
    projector.linear_2.bias[20:] = 0
    projector.linear_1.weight[20:] = 0
    projector.linear_1.bias[20:] = 0
    for layer in model.model.language_model.layers:
        layer.mlp.down_proj.weight[20:] = 0
        layer.self_attn.o_proj.weight[20:] = 0
        layer.mlp.down_proj.weight[:, 40:] = 0
        layer.self_attn.o_proj.weight[:, 10:12] = 0
        layer.self_attn.o_proj.weight[:, 22:] = 0
        for name in ("q_proj", "k_proj"):  # scores that are equal whatever is attended to
            getattr(layer.self_attn, name).weight.zero_()
            if layer.self_attn.q_proj.bias is not None:
                getattr(layer.self_attn, name).bias.zero_()
    ids, _, raw, counted = batch(model, chat)
    small = new_model(small_shape, chat.tokenizer, seed=1)
    cut(model, small, measure(model, [(ids, counted, raw)]))
    torch.testing.assert_close(logits(small, ids, raw, counted), logits(model, ids, raw, counted), rtol=1e-3, atol=1e-3)


def test_distillation_brings_the_student_nearer_to_the_teacher(medium):
    shape, model, chat = medium
    ids, _, raw, counted = batch(model, chat)
    small = new_model(shape._replace(layers=2, width=16, feed_forward=32), chat.tokenizer, seed=1)
    turn = cut(model, small, measure(model, [(ids, counted, raw)]))
    lines: list[str] = []
    settings = {"steps": 30, "pad": chat.tokenizer.pad_token_id, "batch": 8, "log": lines.append}
    wanted = logits(model, ids, raw, counted).detach().log_softmax(-1)

    def divergence() -> float:
        with torch.no_grad():
            return torch.nn.functional.kl_div(
                logits(small, ids, raw, counted).log_softmax(-1), wanted, log_target=True, reduction="batchmean"
            ).item()

    before, teacher = divergence(), {name: tensor.clone() for name, tensor in model.state_dict().items()}
    distil.distil(model, small, turn, chat, questions("distil"), rng=Random(0), **settings)
    assert divergence() < 0.7 * before
    assert all(torch.equal(tensor, teacher[name]) for name, tensor in model.state_dict().items())
    assert lines[0].startswith("distil 1/30")
