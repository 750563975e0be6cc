"""RELA: the relevance of clients to each other, from sanitised gradients of one small frozen model W_S.

    g_i   = mean over probes of dLoss/dW, W the last down projection of W_S       [d, d_ff]
    g~_i  = 40% of the rows of g_i + noise;   ema_i <- (ema_i + g~_i) / 2
    S_ij  = mean over columns c of cos(ema_i[:, c], ema_j[:, c])
    w_ij  = softmax over j != i of S_ij / tau,   w_ii = 0

Reference: Co-LoRA, ICLR 2026, arXiv 2506.11024, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drake.federation import adapters
from drake.models.backbones import IGNORED
from drake.models.layouts import decoder_of, layout_of

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle
    from transformers import LlamaConfig

    from drake.federation.method import Step
    from drake.models.backbones import Backbone, Batch


def task_relevance(gradients: Sequence[Tensor] | Tensor) -> Tensor:
    """S [N, N] of N gradients [rows, columns]: the cosine of each column, averaged over the columns. With a column of
    zeros the cosine is 0."""
    stacked = torch.stack(list(gradients))
    unit = F.normalize(stacked, dim=1)
    return torch.einsum("nrc,mrc->nm", unit, unit) / stacked.shape[2]


def spread(relevance: Tensor, order: Sequence[int], clients: int) -> Tensor:
    """[clients, clients], on the CPU: `relevance` of the clients in `order`, NaN for those that have sent nothing
    yet."""
    everyone, indices = torch.full((clients, clients), torch.nan), torch.tensor(order)
    everyone[indices[:, None], indices] = relevance.cpu()
    return everyone


def mixing_weights(relevance: Tensor, temperature: float = 0.5) -> Tensor:
    """w [N, N] for all clients at once: `weights_over` the others. The diagonal is zero and rows sum to 1; a client
    alone has no others, so its one row is zero."""
    if len(relevance) == 1:
        return torch.zeros_like(relevance)
    return weights_over(relevance.clone().fill_diagonal_(-torch.inf), temperature)


def weights_over(relevance: Tensor, temperature: float = 0.5) -> Tensor:
    """w = softmax(S / tau) along the last dimension, the weights of the clients whose relevance is given. They sum to 1
    over any subset of the clients, so that nothing is renormalised by a small sum."""
    return torch.softmax(relevance / temperature, dim=-1)


@torch.no_grad()
def last_layer_gradient(model: nn.Module, batch: Batch, diagonal: bool = False) -> Tensor:
    """dLoss/dW [d, d_ff] of the mean cross-entropy over the batch's answer tokens, W the last down projection.

    One forward pass and no backward: with delta = (softmax(logits) - onehot) / n and u the input of W, the gradient is
    J^T (H^T delta) u^T summed over answer tokens, where H is lm_head and J the exact Jacobian of the final RMSNorm
    y = w * x / rms(x); the residual connection passes it on unchanged. Where an RMSNorm lies between W and that
    connection (Gemma 3), its Jacobian follows. No adapter of the model may be active.

    diagonal: use the diagonal of J alone, as the official code does.
    """
    if batch.labels is None:
        raise ValueError("a batch without answers has no gradient")
    decoder, offset = decoder_of(model), layout_of(model).norm_offset
    between = getattr(decoder.layers[-1], "post_feedforward_layernorm", None)
    watched = {"u": decoder.layers[-1].mlp.down_proj, "x": decoder.norm} | ({"z": between} if between else {})
    seen: dict[str, Tensor] = {}

    def watch(name: str, module: nn.Module) -> RemovableHandle:
        return module.register_forward_pre_hook(lambda _, inputs: seen.update({name: inputs[0]}))

    hooks = [watch(name, module) for name, module in watched.items()]
    try:
        model.get_submodule("model")(**batch.unmasked, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    targets = batch.labels[:, 1:]
    chosen = targets != IGNORED
    exact = torch.promote_types(seen["x"].dtype, torch.float32)
    kept = {name: value[:, :-1][chosen].to(exact) for name, value in seen.items()}
    lm_head = model.get_submodule("lm_head")
    head, norm = lm_head.get_parameter("weight"), _Norm(decoder.norm, offset, kept["x"])
    delta = torch.softmax(lm_head(norm.output().to(head.dtype)).to(exact), dim=-1)
    delta[torch.arange(len(delta)), targets[chosen]] -= 1
    at_residual = norm.back(((delta / len(delta)).to(head.dtype) @ head).to(exact), diagonal)
    if between is not None:
        at_residual = _Norm(between, offset, kept["z"]).back(at_residual, diagonal)
    return at_residual.T @ kept["u"]


class _Norm:
    """An RMSNorm y = w * x / rms(x) at the inputs x [n, d]. offset: of w from the stored weight.

    Computed here because that of transformers computes in float32, whatever the dtype."""

    def __init__(self, norm: Any, offset: float, x: Tensor) -> None:
        self.scale = norm.weight.to(x) + offset
        epsilon = getattr(norm, "variance_epsilon", None) or norm.eps
        self.x, self.inverse = x, torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon)

    def output(self) -> Tensor:
        """y [n, d]."""
        return self.scale * self.x * self.inverse

    def back(self, gradient: Tensor, diagonal: bool) -> Tensor:
        """J^T times a gradient [n, d] at y; diagonal: of J alone its diagonal."""
        at_norm, x, inverse = gradient * self.scale, self.x, self.inverse
        if diagonal:
            return inverse * at_norm * (1 - x.square() * inverse.square() / x.shape[-1])
        return inverse * (at_norm - x * inverse.square() * (at_norm * x).mean(-1, keepdim=True))


def gradient_width(backbone: Backbone) -> int:
    """d_ff, the columns of the gradient."""
    return cast("LlamaConfig", backbone.model.config.text_config).intermediate_size  # Qwen2's has the same field


class Probes:
    """Probes of one client in one round: gradients of the frozen anchor backbone on some of its training steps."""

    def __init__(self, anchor: Backbone, diagonal: bool = False) -> None:
        self._anchor, self._diagonal = anchor, diagonal
        self._gradients: list[Tensor] = []

    def take(self, model: nn.Module, step: Step) -> None:
        """Probe the records of one step of `model`, the client's own, which may be the anchor's model."""
        anchor = self._anchor
        with adapters.bare(anchor.model):
            gradients = [
                last_layer_gradient(
                    anchor.model,
                    batch if anchor.model is model else anchor.batch(batch.records, answers=True),
                    self._diagonal,
                )
                for batch in step
            ]
        self._gradients.append(torch.stack(gradients).mean(0))

    def mean(self) -> Tensor:
        """g_i [d, d_ff], the mean over the probes."""
        return torch.stack(self._gradients).mean(0)


def kept_rows(rows: int, ratio: float, rng: torch.Generator | None = None) -> Tensor:
    """The sorted indices of the rows that a client sends, the fraction `ratio` of all: drawn at random, or without a
    generator the first ones, as in the official code."""
    count = max(1, round(rows * ratio))
    return torch.arange(count) if rng is None else torch.randperm(rows, generator=rng)[:count].sort().values


def sanitise(
    gradient: Tensor,
    rows: Tensor,
    sigma: float,
    rng: torch.Generator,
    noise: Literal["gaussian", "laplace"] = "gaussian",
) -> Tensor:
    """The kept rows with noise of standard deviation `sigma`, drawn on the CPU."""
    kept = gradient[rows.to(gradient.device)]
    if noise == "gaussian":
        drawn = torch.randn(kept.shape, generator=rng)
    else:  # the difference of two exponentials, with a standard deviation of sqrt(2) times their scale
        drawn = (torch.empty(2, *kept.shape).exponential_(generator=rng) * torch.tensor(0.5).sqrt()).diff(dim=0)[0]
    return kept + sigma * drawn.to(kept)
