"""Stage 1: a small CLIP vision tower learns to name what pictures show, on fresh pictures of every world.

The labels are the answers to the public split's naming questions ("What colour is the shirt?"). A linear classifier
predicts them from every output token, so that each token encodes the whole picture's attributes linearly. Like the
towers of real LLaVAs, it is frozen afterwards and the same for all backbones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPImageProcessorPil, CLIPVisionModel

from drake.common.seeds import derive, python_random
from drake.data.sources.mini.world import World
from drake.models.tiny.schedule import cosine
from drake.models.tiny.shapes import VISION_WIDTH, vision_config


def pixels(images: Sequence[Image.Image]) -> Tensor:
    """[n, 3, SIZE, SIZE]: pictures of the worlds, normalised as the processor does it, as one tensor."""
    array = torch.from_numpy(np.stack([np.asarray(image) for image in images])).float() / 255
    mean, std = (torch.tensor(values) for values in (CLIPImageProcessorPil.image_mean, CLIPImageProcessorPil.image_std))
    return ((array - mean) / std).permute(0, 3, 1, 2)


@torch.no_grad()
def features(tower: CLIPVisionModel, images: Sequence[Image.Image], batch: int = 128) -> Tensor:
    """[n, tokens, VISION_WIDTH]: the last hidden states of a frozen tower, without the class token."""
    parts = [
        tower(pixel_values=pixels(images[start : start + batch]), output_hidden_states=True).hidden_states[-1][:, 1:]
        for start in range(0, len(images), batch)
    ]
    return torch.cat(parts)


class _Namer(nn.Module):
    """One linear classifier per attribute name, over all the words that worlds use for it, applied to every token."""

    def __init__(self, worlds: Sequence[World]):
        super().__init__()
        self.words: dict[str, list[str]] = {}
        for world in worlds:
            for attribute in world.attributes:
                known = self.words.setdefault(attribute.name, [])
                known += [value for value in attribute.values if value not in known]
        self.index = {name: str(number) for number, name in enumerate(self.words)}
        self.heads = nn.ModuleDict({self.index[n]: nn.Linear(VISION_WIDTH, len(w)) for n, w in self.words.items()})

    def loss(self, tokens: Tensor, attribute: str, values: list[str], allowed: Sequence[str]) -> tuple[Tensor, float]:
        """Mean cross-entropy of every token's logits over the world's `allowed` words, and the accuracy of the logits
        averaged over tokens."""
        words = self.words[attribute]
        logits = self.heads[self.index[attribute]](tokens)[..., [words.index(word) for word in allowed]]
        target = torch.tensor([allowed.index(value) for value in values])
        per_token = F.cross_entropy(logits.flatten(0, 1), target.repeat_interleave(tokens.shape[1]))
        return per_token, (logits.mean(1).argmax(-1) == target).float().mean().item()


def train_vision(
    worlds: Sequence[World],
    *,
    steps: int,
    seed: int,
    batch: int = 16,
    worlds_per_step: int = 8,
    learning_rate: float = 1e-3,
    log: Callable[[str], None] = print,
) -> CLIPVisionModel:
    """A trained, frozen CLIP vision tower.

    batch: pictures of each world per step. worlds_per_step: worlds drawn for each step.
    """
    with torch.random.fork_rng(devices=[]):  # transformers and torch draw initial weights from the global generator
        torch.manual_seed(derive(seed, "pretrain", "vision"))
        tower, namer = CLIPVisionModel(vision_config()), _Namer(worlds)
    parameters = [*tower.parameters(), *namer.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, cosine(steps, warm_up=min(100, steps // 10)))
    rng = python_random(seed, "pretrain", "vision")
    began = time.monotonic()
    seen: dict[str, float] = {}
    for step in range(1, steps + 1):
        drawn = rng.sample(list(worlds), min(worlds_per_step, len(worlds)))
        scenes = [[world.scene(rng) for _ in range(batch)] for world in drawn]
        images = [world.render(scene) for world, group in zip(drawn, scenes, strict=True) for scene in group]
        tokens = tower(pixel_values=pixels(images), output_hidden_states=True).hidden_states[-1][:, 1:]
        losses = []
        for world, group, part in zip(drawn, scenes, tokens.split(batch), strict=True):
            for attribute in world.attributes:
                asked = [scene[attribute.name] for scene in group]
                loss, right = namer.loss(part, attribute.name, asked, attribute.values)
                losses.append(loss)
                key = f"{world.source}.{attribute.name}"
                seen[key] = 0.95 * seen.get(key, 0.0) + 0.05 * right
        torch.stack(losses).mean().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 200 == 0:
            left = (time.monotonic() - began) / step * (steps - step)
            worst = ", ".join(f"{name} {seen[name]:.2f}" for name in sorted(seen, key=seen.__getitem__)[:3])
            mean = sum(seen.values()) / len(seen)
            log(f"vision {step}/{steps}: named {mean:.3f}, least {worst}; {left:.0f} s left")
    return tower.eval().requires_grad_(False)
