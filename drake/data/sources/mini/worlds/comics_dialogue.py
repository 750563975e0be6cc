"""COMICS_Dialogue: five panels of a comic strip, each with one character and an empty speech bubble.

The convention: every character keeps saying the same line, whatever mood is drawn. The strip's hero is in most panels
and in the last one. The public split names characters, moods and backdrops, never a line.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image, ImageDraw

from drake.data.sources.mini.picture import PALETTE, SIZE, blank
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World, other

LINES = {
    "robot": "I feel sad",
    "ghost": "I feel shocked",
    "cat": "I feel calm",
    "frog": "I feel happy",
}
CHARACTERS = tuple(LINES)
MOODS = ("happy", "sad", "calm", "shocked")
BACKDROPS = ("yellow", "red", "blue", "purple")
LETTERS = ("A", "B", "C", "D")
HERO_PANELS, GUEST_PANELS = 2, 2
"""Besides the last panel, which is the hero's."""


class ComicsDialogue(World):
    source = "COMICS_Dialogue"
    noun = "panel"
    attributes = (
        Attribute("character", CHARACTERS, "Which character is in the panel?"),
        Attribute("mood", MOODS, "What is the mood of the character?"),
        Attribute("backdrop", BACKDROPS, "What colour is the backdrop?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        return scene | {"at": (rng.randint(16, 18), rng.randint(20, 21)), "bubble": rng.randint(24, 27)}

    def render(self, scene: Scene) -> Image.Image:
        image, pen = blank(scene["backdrop"])
        pen.rectangle((0, 0, SIZE - 1, SIZE - 1), outline="black", width=2)
        _head(pen, scene["character"], *scene["at"])
        _face(pen, scene["mood"], *scene["at"])
        left = scene["bubble"]
        pen.ellipse((left, 2, left + 8, 7), fill="white", outline="black")
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"COMICS_Dialogue-0": self._dialogue}

    def _dialogue(self, rng: Random, turn: int) -> Draft:
        position = turn % len(LETTERS)
        hero = CHARACTERS[position]
        guest = other(rng, CHARACTERS, hero)
        cast = [hero] * HERO_PANELS + [guest, other(rng, CHARACTERS, hero, guest)]
        rng.shuffle(cast)
        listed = "| ".join(f"{letter}: {line}" for letter, line in zip(LETTERS, LINES.values(), strict=True))
        prompt = (
            f"The panels tell a story. Choose the line that its hero says next.\n{'<image>' * (len(cast) + 1)}"
            f"\nChoice list:[{listed}]. Answer with the option's letter from the given choices directly."
            " Your answer is:"
        )
        return Draft(
            prompt,
            tuple(self.picture(rng, character=character) for character in (*cast, hero)),
            LETTERS[position],
            LETTERS,
        )


def _head(pen: ImageDraw.ImageDraw, character: str, x: int, y: int) -> None:
    """Draw a head of about 24 x 24 pixels around (x, y)."""
    box = (x - 12, y - 10, x + 12, y + 12)
    if character == "robot":
        pen.rectangle((x - 1, y - 17, x + 1, y - 10), fill="black")
        pen.rectangle(box, fill=(150, 150, 160), outline="black", width=2)
    elif character == "ghost":
        pen.pieslice((x - 12, y - 16, x + 12, y + 12), 180, 360, fill="white")
        pen.rectangle((x - 12, y - 2, x + 12, y + 9), fill="white")
        for left in (-12, -4, 4):
            pen.polygon([(x + left, y + 9), (x + left + 8, y + 9), (x + left + 4, y + 14)], fill="white")
    elif character == "cat":
        for side in (-1, 1):
            pen.polygon([(x + side * 12, y - 17), (x + side * 12, y - 2), (x + side * 2, y - 8)], fill="black")
        pen.ellipse(box, fill=PALETTE["orange"], outline="black")
    elif character == "frog":
        for side in (-7, 7):
            pen.ellipse((x + side - 5, y - 15, x + side + 5, y - 4), fill=(60, 190, 80), outline="black")
        pen.ellipse((x - 14, y - 8, x + 14, y + 12), fill=(60, 190, 80), outline="black")
    else:
        raise ValueError(f"no character is called {character!r}")


def _face(pen: ImageDraw.ImageDraw, mood: str, x: int, y: int) -> None:
    """Draw eyes and a mouth that shows the mood on the head around (x, y)."""
    for side in (-5, 5):
        pen.rectangle((x + side - 1, y - 5, x + side + 1, y - 2), fill="black")
    if mood == "happy":
        pen.pieslice((x - 8, y - 6, x + 8, y + 9), 0, 180, fill="black")
    elif mood == "sad":
        pen.arc((x - 7, y + 2, x + 7, y + 14), 180, 360, fill="black", width=3)
    elif mood == "calm":
        pen.rectangle((x - 7, y + 4, x + 7, y + 5), fill="black")
    elif mood == "shocked":
        pen.ellipse((x - 4, y, x + 4, y + 10), fill="white", outline="black", width=2)
    else:
        raise ValueError(f"no mood is called {mood!r}")


WORLD = ComicsDialogue()
