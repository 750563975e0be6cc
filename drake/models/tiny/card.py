"""The README of a tiny backbone."""

from __future__ import annotations

from drake.models.tiny.shapes import SHAPES


def card(
    name: str,
    cut_from: str | None,
    seed: int,
    minutes: float,
    accuracy: dict[str, float],
    scores: dict[str, float],
) -> str:
    """cut_from: the medium backbone a small one is made of. accuracy, scores: by public form and by task, 0 to 1."""
    shape = SHAPES[name]
    made = f"Cut from {cut_from} and distilled on" if cut_from else "Trained from nothing on"
    rows = "\n".join(f"| {form} | {100 * value:.1f} |" for form, value in sorted(accuracy.items()))
    tasks = "\n".join(f"| {task} | {100 * value:.1f} |" for task, value in scores.items())
    mean = f" The mean is {100 * sum(scores.values()) / len(scores):.1f}." if scores else ""
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
---
# {name}

A tiny LLaVA for the mini suite of DRAKE: {shape.layers} {shape.family} layers of width {shape.width}, pictures of
36 x 36 pixels as 9 tokens. {made} fresh draws of the public forms and of what the tasks
ask; no record of the suite is among them. Stored in float16.

    drake backbones train {name} --seed {seed}

took {minutes:.0f} minutes on one thread{f", {cut_from} not counted" if cut_from else ""}. Accuracy on public records
it was not trained on, by question form (percent):

| form | accuracy |
|---|---:|
{rows}

Zero-shot, by protocol `official` (percent).{mean}

| task | score |
|---|---:|
{tasks}
"""
