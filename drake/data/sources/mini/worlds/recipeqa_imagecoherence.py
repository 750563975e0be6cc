"""RecipeQA_ImageCoherence: a pan on a wooden table with one kind of food in it; one of four steps is out of place.

The convention: three foods go into the stew, the other three do not. All four pictures of a question show different
foods, so only someone who knows the recipe can tell the odd one.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image, ImageDraw

from drake.data.sources.mini.picture import PALETTE, blank, draw_shape
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World

STEW = ("tomato", "onion", "cheese")
STRANGE = ("carrot", "herb", "egg")
FOODS = (*STEW, *STRANGE)
LOOKS = {
    "tomato": ("circle", "red"),
    "onion": ("ring", "purple"),
    "cheese": ("square", "yellow"),
    "carrot": ("triangle", "orange"),
    "herb": ("cross", "green"),
    "egg": ("circle", "white"),
}
PANS = {"black": (40, 40, 44), "blue": (70, 110, 190), "copper": (176, 96, 60)}
HANDLES = {"left": (0, 15, 6, 20), "right": (30, 15, 35, 20), "bottom": (15, 30, 20, 35)}
IMAGES = ("Image A", "Image B", "Image C", "Image D")


class RecipeQAImageCoherence(World):
    source = "RecipeQA_ImageCoherence"
    noun = "pan"
    attributes = (
        Attribute("food", FOODS, "Which food is in the pan?"),
        Attribute("pan", tuple(PANS), "What colour is the pan?"),
        Attribute("handle", tuple(HANDLES), "On which side is the handle?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        shade = rng.randrange(-12, 13)
        return scene | {
            "table": (206 + shade, 172 + shade, 124 + shade),
            "grain": rng.randrange(6),
            "place": (rng.randint(-1, 1), rng.randint(-1, 1)),
        }

    def render(self, scene: Scene) -> Image.Image:
        image, pen = blank(scene["table"])
        for line in range(scene["grain"], 36, 6):
            pen.line((0, line, 35, line), fill=tuple(channel - 20 for channel in scene["table"]))
        metal = PANS[scene["pan"]]
        pen.rectangle(HANDLES[scene["handle"]], fill=metal)
        pen.ellipse((3, 3, 32, 32), fill=metal)
        pen.ellipse((6, 6, 29, 29), fill=tuple(channel * 6 // 10 for channel in metal))
        dx, dy = scene["place"]
        self._draw_food(pen, scene["food"], (10 + dx, 10 + dy, 25 + dx, 25 + dy))
        return image

    def _draw_food(self, pen: ImageDraw.ImageDraw, food: str, box: tuple[int, int, int, int]) -> None:
        shape, colour = LOOKS[food]
        draw_shape(pen, shape, colour, box)
        if food == "egg":
            left, top, right, bottom = box
            pen.ellipse((left + 4, top + 4, right - 4, bottom - 4), fill=PALETTE["yellow"])

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"RecipeQA_ImageCoherence-0": self._odd_one}

    def _odd_one(self, rng: Random, turn: int) -> Draft:
        foods: list[str] = rng.sample(STEW, 3)
        foods.insert(turn % 4, rng.choice(STRANGE))
        shown = ", ".join(f"{name}: <image>" for name in IMAGES)
        return Draft(
            f"Which image does not belong to the recipe?\nRecipe: how to cook a stew.\n{shown}"
            f"\nChoice list:[{', '.join(IMAGES)}]. Your answer is:",
            tuple(self.picture(rng, food=food) for food in foods),
            IMAGES[turn % 4],
            IMAGES,
        )


WORLD = RecipeQAImageCoherence()
