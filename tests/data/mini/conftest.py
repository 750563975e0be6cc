"""Draws questions of the mini suite together with the scenes that their pictures show."""

from collections.abc import Callable
from random import Random

import pytest
from PIL import Image

from drake.data.sources.mini.world import Draft, Scene, World

TURNS = 240
"""Questions drawn of each task: a multiple of every number of choices up to 6, so that answers come out balanced."""

Drawn = list[tuple[Draft, list[Scene]]]
Draw = Callable[[World, str], Drawn]


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch) -> Draw:
    """(world, task) -> `TURNS` drafts, each with the scenes of its pictures in the order of the prompt."""

    def draw_task(world: World, task: str) -> Drawn:
        scene_of: dict[int, Scene] = {}
        render = type(world).render

        def recording_render(self: World, scene: Scene) -> Image.Image:
            picture = render(self, scene)
            scene_of[id(picture)] = scene
            return picture

        drawn = []
        with monkeypatch.context() as patch:
            patch.setattr(type(world), "render", recording_render)
            for turn in range(TURNS):
                scene_of.clear()
                draft = world.tasks[task](Random(f"{task} {turn}"), turn)
                assert len(scene_of) == len(draft.images)
                drawn.append((draft, [scene_of[id(picture)] for picture in draft.images]))
        return drawn

    return draw_task
