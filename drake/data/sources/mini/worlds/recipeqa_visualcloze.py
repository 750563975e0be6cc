"""RecipeQA_VisualCloze: a glass seen from the side; which of four glasses comes next in a series of three?

The convention: three colours of drink belong to the punch, the other three do not. Every candidate's colour is
missing from the series, so likeness does not give the answer away.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image

from drake.data.sources.mini.picture import PALETTE, blank
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World

PUNCH = ("red", "green", "purple")
STRANGE = ("blue", "yellow", "orange")
DRINKS = (*PUNCH, *STRANGE)
TOPPINGS = ("cherry", "lime", "straw")
GLASSES = {"wide": (4, 31, 8, 27), "tall": (9, 26, 9, 26), "round": (4, 31, 4, 31)}
"""Left and right edge of a glass at its rim, then at its foot."""
IMAGES = ("Image A", "Image B", "Image C", "Image D")


class RecipeQAVisualCloze(World):
    source = "RecipeQA_VisualCloze"
    noun = "glass"
    attributes = (
        Attribute("drink", DRINKS, "What colour is the drink?"),
        Attribute("topping", TOPPINGS, "What is on top of the drink?"),
        Attribute("glass", tuple(GLASSES), "What kind of glass is it?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        shade = rng.randrange(-10, 11)
        return scene | {
            "wall": (186 + shade, 216 + shade, 226 + shade),
            "rim": rng.randint(8, 10),
            "shift": rng.randint(-1, 1),
        }

    def render(self, scene: Scene) -> Image.Image:
        image, pen = blank(scene["wall"])
        pen.rectangle((0, 31, 35, 35), fill=(120, 90, 80))
        left, right, foot_left, foot_right = (edge + scene["shift"] for edge in GLASSES[scene["glass"]])
        rim, drink = scene["rim"], PALETTE[scene["drink"]]
        if scene["glass"] == "round":
            pen.ellipse((left, rim - 2, right, 33), fill=drink, outline=PALETTE["white"], width=2)
        else:
            outline = [(left, rim), (right, rim), (foot_right, 33), (foot_left, 33)]
            pen.polygon(outline, fill=drink, outline=PALETTE["white"], width=2)
        middle = (left + right) // 2
        if scene["topping"] == "cherry":
            pen.ellipse((middle - 5, 1, middle + 4, rim + 1), fill=(150, 10, 60))
        elif scene["topping"] == "lime":
            pen.pieslice((middle - 8, 0, middle + 8, 2 * rim), 180, 360, fill=(150, 220, 60))
        else:
            pen.line((middle + 8, 0, middle, rim + 1), fill=PALETTE["black"], width=3)
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"RecipeQA_VisualCloze-0": self._next}

    def _next(self, rng: Random, turn: int) -> Draft:
        right, *series = rng.sample(PUNCH, 3)
        series.insert(rng.randrange(3), rng.choice(series))
        candidates: list[str] = rng.sample(STRANGE, 3)
        candidates.insert(turn % 4, right)
        shown = ", ".join(f"{name}: <image>" for name in IMAGES)
        return Draft(
            f"Which image completes the recipe?\nRecipe: how to mix a punch.\n<image><image><image>"
            f"\nChoices: {shown}\nChoice list:[{', '.join(IMAGES)}]. Your answer is:",
            tuple(self.picture(rng, drink=drink) for drink in (*series, *candidates)),
            IMAGES[turn % 4],
            IMAGES,
        )


WORLD = RecipeQAVisualCloze()
