"""SEED-Bench-2: a harbour with the light of a lighthouse and the sail of a boat.

The convention: lights follow each other in a fixed cycle, and a boat steers by the light that follows its sail's
colour. The public split names the colours, never what follows what.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image

from drake.data.sources.mini.picture import PALETTE, blank
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World

CYCLE = ("red", "blue", "yellow", "purple", "green")
SKIES = {"bright": (190, 220, 240), "rosy": (235, 175, 165), "dark": (38, 40, 62)}
LETTERS = ("A", "B", "C", "D")
OPTIONS = CYCLE[: len(LETTERS)]
"""What every question offers, in one order: a tiny pupil learns which letter a light has, not to look it up."""
FILMS = ((0, 0, 1, 2), (0, 1, 1, 2), (0, 1, 2, 2))
"""Steps in the cycle by frame. One light lasts two frames: were four shown, the one left over would be the answer."""
SUFFIX = "\nAnswer with the option's letter from the given choices directly."


def following(colour: str, steps: int = 1) -> str:
    """The light that comes `steps` after `colour` in the cycle."""
    return CYCLE[(CYCLE.index(colour) + steps) % len(CYCLE)]


class SeedBench2(World):
    source = "SEED-Bench-2"
    noun = "harbour"
    attributes = (
        Attribute("light", CYCLE, "What colour is the light?"),
        Attribute("sail", CYCLE, "What colour is the sail?"),
        Attribute("sky", tuple(SKIES), "How does the sky look?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        return scene | {
            "tower": rng.randint(2, 4),
            "boat": (rng.randint(17, 19), rng.randint(-2, 1)),
            "haze": rng.randint(-10, 10),
            "sea": rng.randint(60, 90),
        }

    def render(self, scene: Scene) -> Image.Image:
        red, green, blue = (channel + scene["haze"] for channel in SKIES[scene["sky"]])
        image, pen = blank((red, green, blue))
        pen.rectangle((0, 29, 35, 35), fill=(20, scene["sea"], 110))
        left = scene["tower"]
        pen.polygon([(left + 2, 12), (left + 8, 12), (left + 10, 31), (left, 31)], fill="white", outline="black")
        pen.ellipse((left - 1, 1, left + 11, 13), fill=PALETTE[scene["light"]], outline="black")
        left, top = scene["boat"][0], scene["boat"][1] + 7
        pen.polygon([(left, top + 18), (left + 8, top), (left + 16, top + 18)], fill=PALETTE[scene["sail"]])
        pen.line([(left, top + 18), (left + 8, top), (left + 16, top + 18)], fill="black")
        pen.polygon(
            [(left, top + 19), (left + 16, top + 19), (left + 13, top + 23), (left + 3, top + 23)],
            fill=(110, 70, 40),
            outline="black",
        )
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {
            "SEED-Bench-2-0": self._boat,
            "SEED-Bench-2-1": self._lighthouse,
            "SEED-Bench-2-2": self._film,
        }

    def _boat(self, rng: Random, turn: int) -> Draft:
        sail = following(_answer(turn), -1)
        question = "By which light does the boat with this sail steer?"
        return _draft(turn, (self.picture(rng, sail=sail),), question)

    def _lighthouse(self, rng: Random, turn: int) -> Draft:
        light = following(_answer(turn), -1)
        question = "Which light does the lighthouse show after this light?"
        return _draft(turn, (self.picture(rng, light=light),), question)

    def _film(self, rng: Random, turn: int) -> Draft:
        # The boat, the weather and the camera stay; only the light and the swell change from frame to frame.
        film = rng.choice(FILMS)
        first = self.scene(rng, light=following(_answer(turn), -1 - film[-1]))
        lights = [following(first["light"], step) for step in film]
        frames = tuple(self.render(first | {"light": light, "sea": rng.randint(60, 90)}) for light in lights)
        return _draft(turn, frames, "To which light does it change next?")


def _answer(turn: int) -> str:
    return OPTIONS[turn % len(OPTIONS)]


def _draft(turn: int, images: tuple[Image.Image, ...], question: str) -> Draft:
    listed = "".join(f"\n{letter}. {option}" for letter, option in zip(LETTERS, OPTIONS, strict=True))
    prompt = f"Answer the following question.\n{'<image>' * len(images)}{question}{listed}{SUFFIX}"
    return Draft(prompt, images, LETTERS[turn % len(LETTERS)], LETTERS)


WORLD = SeedBench2()
