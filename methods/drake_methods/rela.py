"""RELA: whose tasks are like mine? Relevance from sanitised gradients of one small frozen model.

    g_i   = mean over probes of dLoss/dW, W the last down projection of W_S       [d, d_ff]
    g~_i  = noise + 40% of the rows of g_i;   ema_i <- (ema_i + g~_i) / 2
    S_ij  = mean over columns c of cos(g_i[:, c], g_j[:, c])
    w_ij  = softmax over j != i of S_ij / tau,   w_ii = 0

Reference: Co-LoRA, ICLR 2026, arXiv 2506.11024, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drake.federation import adapters

if TYPE_CHECKING:
    from drake.federation.method import Step
    from drake.models.backbones import Backbone, Batch


def task_relevance(gradients: Sequence[Tensor] | Tensor) -> Tensor:
    """S [N, N] of N gradients [rows, columns]: column-wise cosine, averaged over the columns. A column of zeros is
    like nothing: cosine 0."""
    stacked = torch.stack(list(gradients))
    unit = F.normalize(stacked, dim=1)
    return torch.einsum("nrc,mrc->nm", unit, unit) / stacked.shape[2]


def mixing_weights(relevance: Tensor, temperature: float = 0.5) -> Tensor:
    """w [N, N]: `weights_over` the others. The diagonal is zero and rows sum to 1; a client alone has no others,
    its one row is zero."""
    if len(relevance) == 1:
        return torch.zeros_like(relevance)
    return weights_over(relevance.clone().fill_diagonal_(-torch.inf), temperature)


def weights_over(relevance: Tensor, temperature: float = 0.5) -> Tensor:
    """softmax(S / tau) along the last dimension: the weights of the clients whose relevance is given; they sum to 1,
    also over a subset of the clients, without dividing by a small sum."""
    return torch.softmax(relevance / temperature, dim=-1)


@torch.no_grad()
def last_layer_gradient(model: nn.Module, batch: Batch, diagonal: bool = False) -> Tensor:
    """dLoss/dW [d, d_ff] of the mean cross-entropy over the batch's answer tokens, W the last down projection.

    One forward pass and no backward: with delta = (softmax(logits) - onehot) / n and u the input of W, the gradient is
    J^T (H^T delta) u^T summed over answer tokens, where H is lm_head and J the exact Jacobian of the final RMSNorm
    y = w * x / rms(x); the residual add passes it on unchanged. The model must answer without adapters.

    diagonal: keep the diagonal of J alone, as the official code does.
    """
    decoder = model.model.language_model
    seen: dict[str, Tensor] = {}
    down = decoder.layers[-1].mlp.down_proj
    hooks = [
        down.register_forward_pre_hook(lambda _, inputs: seen.update(u=inputs[0])),
        decoder.norm.register_forward_pre_hook(lambda _, inputs: seen.update(x=inputs[0])),
    ]
    try:
        model.model(inputs_embeds=batch.inputs["inputs_embeds"], use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    targets = batch.labels[:, 1:]
    chosen = targets != -100
    exact = torch.promote_types(seen["x"].dtype, torch.float32)
    x, u = seen["x"][:, :-1][chosen].to(exact), seen["u"][:, :-1][chosen].to(exact)
    head, scale = model.lm_head.weight, decoder.norm.weight.to(exact)
    # The norm is computed here because transformers' own goes through float32, whatever the dtype.
    inverse = torch.rsqrt(x.square().mean(-1, keepdim=True) + decoder.norm.variance_epsilon)
    delta = torch.softmax(model.lm_head((scale * x * inverse).to(head.dtype)).to(exact), dim=-1)
    delta[torch.arange(len(delta)), targets[chosen]] -= 1
    pulled = ((delta / len(delta)).to(head.dtype) @ head).to(exact) * scale
    if diagonal:
        pulled = inverse * pulled * (1 - x.square() * inverse.square() / x.shape[-1])
    else:
        pulled = inverse * (pulled - x * inverse.square() * (pulled * x).mean(-1, keepdim=True))
    return pulled.T @ u


class Probes:
    """The gradient of the frozen anchor backbone on the steps that a client looks at in one round."""

    def __init__(self, anchor: Backbone, diagonal: bool = False) -> None:
        self._anchor, self._diagonal = anchor, diagonal
        self._found: list[Tensor] = []

    def take(self, model: nn.Module, step: Step) -> None:
        """Look at the records of one step, about to train `model`, which may be the anchor's own."""
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
        self._found.append(torch.stack(gradients).mean(0))

    def mean(self) -> Tensor:
        """[d, d_ff], averaged over what was taken."""
        return torch.stack(self._found).mean(0)


def kept_rows(rows: int, ratio: float, rng: torch.Generator | None = None) -> Tensor:
    """The sorted indices of the share `ratio` of the rows that may leave a client: one draw for the whole run, or
    without a generator the first ones, as in the official code."""
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
    else:  # a difference of exponentials; its standard deviation is sqrt(2) times their scale
        drawn = (torch.empty(2, *kept.shape).exponential_(generator=rng) * torch.tensor(0.5).sqrt()).diff(dim=0)[0]
    return kept + sigma * drawn.to(kept)
