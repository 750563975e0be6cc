"""A contact sheet of a mini world: its attributes' values and one record of every task, for people to look at.

python -m drake.data.sources.mini.sheet docs/mini
"""

from __future__ import annotations

import sys
from pathlib import Path

from drake.common.seeds import python_random
from drake.data import contact_sheet
from drake.data.contact_sheet import Line
from drake.data.sources.mini.world import World
from drake.data.sources.mini.worlds import all_worlds


def draw(world: World, path: Path) -> None:
    """Write the sheet as PNG: one line of pictures per attribute, one per task."""
    rng = python_random(0, "sheet", world.source)
    lines: list[Line] = []
    for attribute in world.attributes:
        pictures = [(world.picture(rng, **{attribute.name: value}), value) for value in attribute.values]
        lines.append(Line(attribute.name, pictures))
    for task, maker in world.tasks.items():
        draft = maker(rng, rng.randrange(4))
        lines.append(Line(task, [(image, "") for image in draft.images], f"{draft.prompt}\n→ {draft.answer}"))
    contact_sheet.draw(f"{world.source} (mini)", lines, path)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for world in all_worlds().values():
        draw(world, folder / f"{world.source}.png")
        print(folder / f"{world.source}.png")
