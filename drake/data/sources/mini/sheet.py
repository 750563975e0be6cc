"""A contact sheet of a mini world: its attributes' values and one record of every task, for people to look at.

python -m drake.data.sources.mini.sheet docs/mini
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from drake.common.seeds import python_random
from drake.data.sources.mini.world import World
from drake.data.sources.mini.worlds import all_worlds

COLUMNS = 12
"""Cells in a line: up to eight pictures, and space for a prompt beside seven."""


def draw(world: World, path: Path) -> None:
    """Write the sheet as PNG: one line of pictures per attribute, one per task."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rng = python_random(0, "sheet", world.source)
    lines = []
    for attribute in world.attributes:
        pictures = [(world.picture(rng, **{attribute.name: value}), value) for value in attribute.values]
        lines.append((attribute.name, pictures, ""))
    for task, maker in world.tasks.items():
        draft = maker(rng, rng.randrange(4))
        images = [(image, "") for image in draft.images]
        lines.append((task, images, f"{draft.prompt}\n→ {draft.answer}"))

    heights = [1.0 if not text else 1.5 for _, _, text in lines]
    figure = Figure(figsize=(COLUMNS * 0.85, sum(heights) * 0.85), layout="constrained")
    figure.suptitle(f"{world.source} (mini)", fontsize=11)
    for part, (title, pictures, text) in zip(
        figure.subfigures(len(lines), 1, height_ratios=heights, squeeze=False)[:, 0], lines, strict=True
    ):
        part.suptitle(title, fontsize=8, x=0.01, ha="left")
        panels = part.subplots(1, COLUMNS)
        for panel in panels:
            panel.axis("off")
        for panel, (image, label) in zip(panels, pictures, strict=False):
            panel.imshow(image)
            panel.set_title(label, fontsize=6, pad=2)
        if text:
            left = (len(pictures) + 0.3) / COLUMNS
            width = int((1 - left) * 165)
            short = "\n".join(line for raw in text.splitlines() for line in textwrap.wrap(raw, width))
            part.text(left, 0.5, short, fontsize=6.5, va="center")
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for world in all_worlds().values():
        draw(world, folder / f"{world.source}.png")
        print(folder / f"{world.source}.png")
