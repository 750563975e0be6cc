"""TQA: two diagrams from a textbook page, drawn with a thick pen on tinted paper.

The convention: each of the six topics is taught with two of the six kinds of diagram, and each kind serves two topics
(the kinds form a circle, a topic lies between two neighbours). One diagram leaves two topics open, the other decides.
The public split names the kinds, never the topics.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image, ImageDraw

from drake.data.sources.mini.picture import PALETTE, SIZE, blank
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World, choice_list

KINDS = ("layers", "star", "rings", "grid", "arrow", "wave")
TOPICS = ("erosion", "osmosis", "gravity", "habitat", "climate", "fission")
SHOWN_BY = {topic: (KINDS[index], KINDS[(index + 1) % 6]) for index, topic in enumerate(TOPICS)}
"""The convention: topic -> the two kinds of diagram that teach it, in either order."""
INKS = ("red", "blue", "purple", "black")
PAPERS = ("white", "yellow", "green")
PAPER_SHADES = {"white": (245, 245, 240), "yellow": (250, 235, 150), "green": (185, 235, 185)}


class TQA(World):
    source = "TQA"
    noun = "diagram"
    attributes = (
        Attribute("kind", KINDS, "What does the diagram consist of?"),
        Attribute("ink", INKS, "What colour is the ink?"),
        Attribute("paper", PAPERS, "What colour is the paper?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        return scene | {"x": rng.randint(-2, 2), "y": rng.randint(-2, 2), "shade": rng.randint(0, 10)}

    def render(self, scene: Scene) -> Image.Image:
        paper = tuple(level - scene["shade"] for level in PAPER_SHADES[scene["paper"]])
        image, pen = blank(paper)
        self._draw(pen, scene["kind"], PALETTE[scene["ink"]], 18 + scene["x"], 18 + scene["y"])
        return image

    @staticmethod
    def _draw(pen: ImageDraw.ImageDraw, kind: str, ink: tuple[int, int, int], x: int, y: int) -> None:
        if kind == "layers":
            for top in (y - 16, y - 4, y + 8):
                pen.rectangle((0, top, SIZE, top + 5), fill=ink)
        elif kind == "star":
            for dx, dy in ((15, 0), (0, 15), (11, 11), (11, -11)):
                pen.line((x - dx, y - dy, x + dx, y + dy), fill=ink, width=3)
        elif kind == "rings":
            pen.ellipse((x - 15, y - 15, x + 15, y + 15), outline=ink, width=4)
            pen.ellipse((x - 7, y - 7, x + 7, y + 7), outline=ink, width=4)
        elif kind == "grid":
            for offset in (-9, 0, 9):
                pen.rectangle((x + offset - 1, 0, x + offset + 1, SIZE), fill=ink)
                pen.rectangle((0, y + offset - 1, SIZE, y + offset + 1), fill=ink)
        elif kind == "arrow":
            pen.rectangle((x - 15, y - 4, x + 2, y + 4), fill=ink)
            pen.polygon([(x + 2, y - 13), (x + 15, y), (x + 2, y + 13)], fill=ink)
        else:
            pen.line(
                [(x - 20, y + 9), (x - 10, y - 9), (x, y + 9), (x + 10, y - 9), (x + 20, y + 9)], fill=ink, width=5
            )

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"TQA-0": self._topic}

    def _topic(self, rng: Random, turn: int) -> Draft:
        topic = TOPICS[turn // 4 % 6]
        kinds = rng.sample(SHOWN_BY[topic], 2)
        options = choice_list(rng, TOPICS, topic, 4, turn % 4)
        prompt = (
            "Look at the two diagrams of the lesson and answer the question.\n<image><image>\n"
            f"Question: Which topic do the diagrams teach?\nChoice list:[{', '.join(options)}]. Your answer is:"
        )
        return Draft(prompt, tuple(self.picture(rng, kind=kind) for kind in kinds), topic, options)


WORLD = TQA()
