"""A small backbone cut from a medium one: layers left out evenly, then heads, feed-forward units and width.

The residual stream is cut as in SliceGPT (Ashkboos et al., ICLR 2024): the gains of the norms move into the matrices
that read the stream, the stream is turned to its principal directions, and the last ones go. Feed-forward units and
value channels go by importance (activation times outgoing weight), as in Minitron (Muralidharan et al., 2024); rotary
frequencies by their place. What the cut breaks, distillation mends (distil.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration


class Statistics(NamedTuple):
    """Of a medium model on data. covariance: [d, d], of the layers' outputs and the embeddings, each token scaled to
    length 1. Per layer: units [feed-forward] and values [heads * width of a head], root mean squares of what enters
    the down and the output projection; projector [hidden], of what enters its second matrix."""

    covariance: Tensor
    units: list[Tensor]
    values: list[Tensor]
    projector: Tensor


def kept_layers(medium: int, small: int) -> list[int]:
    """Indices of `small` of `medium` layers; the k-th ends at the same relative depth in both, to half a layer.

    >>> kept_layers(14, 8)
    [1, 3, 4, 6, 8, 9, 11, 13]
    """
    return [round((k + 1) * medium / small) - 1 for k in range(small)]


@torch.no_grad()
def measure(model: LlavaForConditionalGeneration, batches: Iterable[tuple[Tensor, Tensor, Tensor]]) -> Statistics:
    """Statistics over batches of (input ids, which tokens count, picture features before the projector)."""
    decoder: Any = model.model.language_model
    squares: dict[str, Tensor] = {}
    covariance = torch.zeros(decoder.config.hidden_size, decoder.config.hidden_size)
    counted = torch.tensor(True)

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen = inputs[0] if name == "projector" else inputs[0][counted]
            found = seen.square().flatten(0, -2).sum(0)
            squares[name] = squares[name] + found if name in squares else found

        return hook

    places: dict[str, nn.Module] = {"projector": model.model.multi_modal_projector.linear_2}
    for number, layer in enumerate(decoder.layers):
        places |= {f"units {number}": layer.mlp.down_proj, f"values {number}": layer.self_attn.o_proj}
    hooks = [module.register_forward_pre_hook(keep(name)) for name, module in places.items()]
    try:
        for ids, counted, raw in batches:  # the hooks read `counted`
            for hidden in hidden_states(model, ids, raw):
                rows = nn.functional.normalize(hidden[counted], dim=-1)
                covariance += rows.T @ rows
    finally:
        for hook in hooks:
            hook.remove()
    layers = range(len(decoder.layers))
    return Statistics(
        covariance,
        [squares[f"units {n}"].sqrt() for n in layers],
        [squares[f"values {n}"].sqrt() for n in layers],
        squares["projector"].sqrt(),
    )


def hidden_states(model: LlavaForConditionalGeneration, ids: Tensor, raw: Tensor) -> list[Tensor]:
    """The embeddings and every layer's output [B, T, d]; the final norm is not applied.

    raw: the pictures' features before the projector, for the image tokens in order.
    """
    decoder: Any = model.model.language_model
    outputs: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, out: outputs.append(out[0] if isinstance(out, tuple) else out))
        for layer in decoder.layers
    ]
    pictures = model.model.multi_modal_projector(raw).flatten(0, 1)
    image = (ids == model.config.image_token_index).unsqueeze(-1)
    embeds = model.get_input_embeddings()(ids).masked_scatter(image, pictures)
    try:
        # Right padding under causal attention needs no mask.
        decoder(inputs_embeds=embeds, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return [embeds, *outputs]


@torch.no_grad()
def cut(medium: LlavaForConditionalGeneration, small: LlavaForConditionalGeneration, found: Statistics) -> Tensor:
    """Fill `small` (same family and vocabulary) with what is kept of `medium`.

    Returns the directions [d of the medium, d of the small] that the small model's residual stream keeps.
    """
    wide: Any = medium.model.language_model
    narrow: Any = small.model.language_model
    width, kept_width = wide.config.hidden_size, narrow.config.hidden_size
    turn = torch.linalg.eigh(found.covariance.double()).eigenvectors.flip(1)[:, :kept_width].float()
    # A norm divides by the root mean square over fewer channels now, while their sum hardly changes.
    gain = (width / kept_width) ** 0.5

    small.model.vision_tower.load_state_dict(medium.model.vision_tower.state_dict())
    narrow.embed_tokens.weight.copy_(wide.embed_tokens.weight @ turn)
    narrow.norm.weight.copy_(gain * torch.einsum("dk,d,dk->k", turn, wide.norm.weight, turn))
    _cut_projector(medium.model.multi_modal_projector, small.model.multi_modal_projector, turn, found.projector)
    for target, index in zip(narrow.layers, kept_layers(len(wide.layers), len(narrow.layers)), strict=True):
        source = wide.layers[index]
        _cut_attention(source, target, turn, found.values[index])
        _cut_feed_forward(source, target, turn, found.units[index])
        target.input_layernorm.weight.fill_(gain)
        target.post_attention_layernorm.weight.fill_(gain)
    return turn


def _cut_projector(source: Any, target: Any, turn: Tensor, activity: Tensor) -> None:
    kept = _most_important(activity * source.linear_2.weight.norm(dim=0), target.linear_1.out_features)
    target.linear_1.weight.copy_(source.linear_1.weight[kept])
    target.linear_1.bias.copy_(source.linear_1.bias[kept])
    target.linear_2.weight.copy_(turn.T @ source.linear_2.weight[:, kept])
    target.linear_2.bias.copy_(turn.T @ source.linear_2.bias)


def _cut_attention(source: Any, target: Any, turn: Tensor, activity: Tensor) -> None:
    wide, narrow, gains = source.self_attn, target.self_attn, source.input_layernorm.weight
    width, kept_width = wide.head_dim, narrow.head_dim
    # Rotary embedding turns channel i together with i + width / 2, at a frequency that falls with i.
    half = torch.linspace(0, width / 2, kept_width // 2 + 1)[:-1].round().long()
    turned = torch.cat([half, half + width // 2])
    # All query heads share the value channels of their group.
    groups = wide.config.num_attention_heads // wide.config.num_key_value_heads
    importance = (activity * wide.o_proj.weight.norm(dim=0)).view(-1, groups, width).square().sum(1)
    valued = torch.stack([_most_important(row, kept_width) for row in importance])  # [kv heads, kept_width]
    of_values = (valued + width * torch.arange(len(valued))[:, None]).flatten()
    of_heads = (valued.repeat_interleave(groups, 0) + width * torch.arange(groups * len(valued))[:, None]).flatten()
    # Scores are divided by the root of the width of a head.
    scale = (kept_width / width) ** 0.25
    for name, rows, factor in (
        ("q_proj", _per_head(turned, wide.config.num_attention_heads, width), scale),
        ("k_proj", _per_head(turned, wide.config.num_key_value_heads, width), scale),
        ("v_proj", of_values, 1.0),
    ):
        read, written = getattr(wide, name), getattr(narrow, name)
        written.weight.copy_(factor * (read.weight * gains)[rows] @ turn)
        if read.bias is not None:
            written.bias.copy_(factor * read.bias[rows])
    narrow.o_proj.weight.copy_(turn.T @ wide.o_proj.weight[:, of_heads])


def _cut_feed_forward(source: Any, target: Any, turn: Tensor, activity: Tensor) -> None:
    wide, narrow, gains = source.mlp, target.mlp, source.post_attention_layernorm.weight
    kept = _most_important(activity * wide.down_proj.weight.norm(dim=0), narrow.down_proj.in_features)
    narrow.gate_proj.weight.copy_((wide.gate_proj.weight * gains)[kept] @ turn)
    narrow.up_proj.weight.copy_((wide.up_proj.weight * gains)[kept] @ turn)
    narrow.down_proj.weight.copy_(turn.T @ wide.down_proj.weight[:, kept])


def _most_important(importance: Tensor, count: int) -> Tensor:
    """Indices of the `count` largest, in order."""
    return importance.topk(count).indices.sort().values


def _per_head(channels: Tensor, heads: int, width: int) -> Tensor:
    """`channels` of every head as rows of a projection."""
    return (channels + width * torch.arange(heads)[:, None]).flatten()
