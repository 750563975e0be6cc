"""How stages 3 and 4 train: which parameters, the optimizer, and the learning-rate schedule of all stages."""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import LlavaForConditionalGeneration


def cosine(steps: int, warm_up: int, floor: float = 0.02) -> Callable[[int], float]:
    """Factor of the learning rate by step, from 0: linear over `warm_up` steps, then half a cosine down to `floor`."""

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        done = (step - warm_up) / max(1, steps - warm_up)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))

    return factor


def full_fine_tuning(
    model: LlavaForConditionalGeneration, learning_rate: float, steps: int
) -> tuple[list[nn.Parameter], torch.optim.AdamW, LambdaLR]:
    """The parameters of projector and language model, which train from now on while all others are frozen, their
    optimizer, and its schedule over `steps` steps."""
    model.requires_grad_(False)
    trained = [p for m in (model.model.language_model, model.model.multi_modal_projector) for p in m.parameters()]
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    return trained, optimizer, LambdaLR(optimizer, cosine(steps, warm_up=min(30, steps)))
