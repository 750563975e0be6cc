"""imagecode: frames of a film about a house cut open, six rooms under a roof, and someone who walks through it.

The convention: which room is the study. The four frames of a question differ in nothing but the room, and in one of
them someone is in the study.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image

from drake.data.sources.mini.picture import CELL, PALETTE, blank
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World

COLUMNS = ("left", "middle", "right")
FLOORS = ("upper", "lower")
COATS = ("red", "green", "blue", "yellow", "purple")
ROOMS = tuple((column, floor) for column in COLUMNS for floor in FLOORS)
STUDY = ("middle", "upper")
IMAGES = ("Image A", "Image B", "Image C", "Image D")


class ImageCoDe(World):
    source = "imagecode"
    noun = "frame"
    attributes = (
        Attribute("column", COLUMNS, "In which column of rooms is the person?"),
        Attribute("floor", FLOORS, "On which floor is the person?"),
        Attribute("coat", COATS, "What colour is the coat of the person?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        shade = rng.randrange(-8, 9)
        return scene | {
            "paper": (238 + shade, 226 + shade, 206 + shade),
            "roof": rng.choice([(120, 60, 50), (80, 80, 90), (90, 110, 80)]),
            "sky": (170 + shade, 200 + shade, 240 + shade),
            "step": rng.randint(-1, 1),
        }

    def render(self, scene: Scene) -> Image.Image:
        image, pen = blank(scene["sky"])
        pen.polygon([(0, CELL - 1), (35, CELL - 1), (26, 3), (9, 3)], fill=scene["roof"])
        for column in range(3):
            for floor in (1, 2):
                left, top = column * CELL, floor * CELL
                pen.rectangle((left, top, left + CELL - 1, top + CELL - 1), fill=scene["paper"], outline=(110, 90, 80))
        left = COLUMNS.index(scene["column"]) * CELL + scene["step"]
        top = (FLOORS.index(scene["floor"]) + 1) * CELL
        pen.rectangle((left + 2, top + 5, left + 9, top + 11), fill=PALETTE[scene["coat"]])
        pen.ellipse((left + 3, top, left + 8, top + 5), fill=PALETTE["black"])
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"imagecode-0": self._frame}

    def _frame(self, rng: Random, turn: int) -> Draft:
        rooms = rng.sample([room for room in ROOMS if room != STUDY], 3)
        rooms.insert(turn % 4, STUDY)
        film = self.scene(rng)
        frames = []
        for column, floor in rooms:
            frames.append(self.render(film | {"column": column, "floor": floor, "step": rng.randint(-1, 1)}))
        shown = ", ".join(f"{name}: <image>" for name in IMAGES)
        return Draft(
            f"Which image is described? Someone is in the study.\n{shown}"
            f"\nYou must choose from the choice list.\nChoice list:[{', '.join(IMAGES)}].",
            tuple(frames),
            IMAGES[turn % 4],
            IMAGES,
        )


WORLD = ImageCoDe()
