"""Stage 2: pictures come to lie near the words for what they show. Also the loss and accuracy of stages 3 and 4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionModel, LlavaForConditionalGeneration, PreTrainedTokenizerFast

from drake.common.seeds import derive, python_random
from drake.data.sources.mini.world import World
from drake.models.batching import IGNORED
from drake.models.tiny.corpus import Corpus, Item, collate
from drake.models.tiny.schedule import cosine
from drake.models.tiny.vision import features


def answers_of(
    model: LlavaForConditionalGeneration, items: Sequence[Item], corpus: Corpus, pad: int
) -> tuple[Tensor, list[bool]]:
    """Mean cross-entropy over the answer tokens, and per item whether greedy decoding gives its answer: every answer
    token is the likeliest, given the ones before."""
    image_token = model.config.image_token_index
    ids, labels, raw = collate(items, corpus.features, image_token, pad)
    pictures = model.model.multi_modal_projector(raw).flatten(0, 1)
    embeds = model.get_input_embeddings()(ids).masked_scatter((ids == image_token).unsqueeze(-1), pictures)
    # Right padding under causal attention needs no mask.
    hidden = model.model.language_model(inputs_embeds=embeds, use_cache=False).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    wanted = targets != IGNORED
    logits = model.lm_head(hidden[wanted])
    wrong = torch.zeros_like(wanted)
    wrong[wanted] = logits.argmax(-1) != targets[wanted]
    return F.cross_entropy(logits, targets[wanted]), (~wrong.any(1)).tolist()


@torch.no_grad()
def form_accuracy(model: LlavaForConditionalGeneration, corpus: Corpus, pad: int, batch: int = 64) -> dict[str, float]:
    """Fraction of records, by question form, whose answer tokens are each the likeliest given the ones before."""
    right: dict[str, list[bool]] = {}
    items = sorted(corpus.items, key=lambda item: item.length)
    for start in range(0, len(items), batch):
        part = items[start : start + batch]
        for item, correct in zip(part, answers_of(model, part, corpus, pad)[1], strict=True):
            right.setdefault(item.form, []).append(correct)
    return {form: sum(found) / len(found) for form, found in right.items()}


@torch.no_grad()
def start_as_matchers(model: LlavaForConditionalGeneration, seed: int, family: str, scale: float = 0.1) -> None:
    """Initialise every attention head to attend to tokens similar to the query's own: queries equal keys.

    A simple form of mimetic initialisation (Trockman and Kolter, ICML 2023): trained transformers show this pattern.
    """
    rng = torch.Generator().manual_seed(derive(seed, "pretrain", "matchers", family))
    for layer in model.model.language_model.layers:
        attention = layer.self_attn
        keys = torch.randn(attention.k_proj.weight.shape, generator=rng) * scale
        attention.k_proj.weight.copy_(keys)
        attention.q_proj.weight.copy_(keys.repeat(len(attention.q_proj.weight) // len(keys), 1))


def align(
    model: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    worlds: Sequence[World],
    tower: CLIPVisionModel,
    *,
    seed: int,
    family: str,
    per_world: int = 400,
    steps: int = 500,
    learning_rate: float = 3e-3,
    log: Callable[[str], None] = print,
) -> None:
    """Train projector and word embeddings so that a picture's tokens lie near the words that name what it shows:
    comparing a picture with a word then starts out as comparing two words."""
    rng = python_random(seed, "pretrain", "align", family)
    data: list[tuple[Tensor, list[tuple[list[list[int]], Tensor]]]] = []
    for world in worlds:
        scenes = [world.scene(rng) for _ in range(per_world)]
        raw = features(tower, [world.render(scene) for scene in scenes])
        questions: list[tuple[list[list[int]], Tensor]] = []
        for attribute in world.attributes:
            words = [tokenizer("\n" + value, add_special_tokens=False)["input_ids"][1:] for value in attribute.values]
            target = torch.tensor([attribute.values.index(scene[attribute.name]) for scene in scenes])
            questions.append((words, target))
        data.append((raw, questions))
    embeddings, projector = cast(nn.Embedding, model.get_input_embeddings()), model.model.multi_modal_projector
    parameters = [*projector.parameters(), embeddings.weight]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, cosine(steps, warm_up=50))
    for step in range(1, steps + 1):
        losses: list[Tensor] = []
        right: list[Tensor] = []
        for raw, questions in rng.sample(data, min(8, len(data))):
            rows = torch.tensor(rng.sample(range(per_world), 32))
            tokens = projector(raw[rows])
            tokens = F.rms_norm(tokens, tokens.shape[-1:])
            for words, target in questions:
                table = torch.stack([embeddings.weight[word].mean(0) for word in words])
                logits = tokens @ table.T
                losses.append(F.cross_entropy(logits.flatten(0, 1), target[rows].repeat_interleave(tokens.shape[1])))
                right.append((logits.mean(1).argmax(-1) == target[rows]).float().mean())
        torch.stack(losses).mean().backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 0:
            log(f"align {step}/{steps}: named {torch.stack(right).mean().item():.3f}")
