"""The tests' own LoRA, in plain PyTorch: the bare backbone is called with W + sum of share s B A in place of W."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from drake.models.backbones import Backbone, Batch

Adapter = dict[str, Tensor]
"""The tensors of one adapter by "<layer>.<projection>.<A|B>"."""


class Plain:
    """scale: s = alpha / rank."""

    def __init__(self, backbone: Backbone, scale: float) -> None:
        self.model, self.scale = backbone.model, scale
        start = "model.language_model.layers."
        self.weights = {
            name.removeprefix(start).removesuffix(".weight"): (name, weight)
            for name, weight in self.model.named_parameters()
            if name.startswith(start) and name.endswith("proj.weight")
        }

    def random(self, seed: int, rank: int) -> Adapter:
        """An adapter of which nothing is zero, to be trained."""
        rng, found = torch.Generator().manual_seed(seed), {}
        for place, (_, weight) in self.weights.items():
            for letter, shape in (("A", (rank, weight.shape[1])), ("B", (weight.shape[0], rank))):
                found[f"{place}.{letter}"] = torch.randn(shape, generator=rng) * 0.1
        return found

    def __call__(self, inputs: dict[str, Tensor], *adapters: Adapter, share: float = 1.0) -> Tensor:
        """The logits of all tokens [B, T, V] with these adapters, each times `share`."""
        changed = {}
        for place, (name, weight) in self.weights.items():
            updates = [adapter[f"{place}.B"] @ adapter[f"{place}.A"] for adapter in adapters]
            changed[name] = weight + sum(share * self.scale * update for update in updates)
        return functional_call(self.model, changed, args=(), kwargs={**inputs, "use_cache": False}).logits

    def answers(self, batch: Batch, *adapters: Adapter, share: float = 1.0) -> Tensor:
        """The logits [n, V] of the batch's n answer tokens."""
        return self(batch.inputs, *adapters, share=share)[:, :-1][batch.labels[:, 1:] != -100]


def targets(batch: Batch) -> Tensor:
    """The n answer tokens of the batch."""
    labels = batch.labels[:, 1:]
    return labels[labels != -100]


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Of the logits of `Plain.answers`, averaged over the answer tokens."""
    return -logits.log_softmax(-1)[torch.arange(len(logits)), targets(batch)].mean()


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """tau^2 sum p_t log(p_t / p_s), averaged over tokens."""
    p, q = (teacher / temperature).softmax(-1), (student / temperature).softmax(-1)
    return temperature**2 * (p * (p / q).log()).sum(-1).mean()


def trainable(adapter: Adapter) -> Adapter:
    """A copy whose tensors want gradients."""
    return {name: tensor.detach().clone().requires_grad_() for name, tensor in adapter.items()}


def descended(losses: list[Tensor], *adapters: Adapter, rate: float, clip: float) -> list[Adapter]:
    """The adapters after one step of gradient descent on the mean of the losses, the gradient of all tensors together
    clipped to the norm `clip`; ready for the next step."""
    tensors = [tensor for adapter in adapters for tensor in adapter.values()]
    gradients = torch.autograd.grad(sum(losses) / len(losses), tensors)
    norm = sum(gradient.square().sum() for gradient in gradients).sqrt()
    assert norm > clip  # or the test would not see the clipping
    moved = iter([t - rate * clip / norm * g for t, g in zip(tensors, gradients, strict=True)])
    return [trainable({name: next(moved) for name in adapter}) for adapter in adapters]
