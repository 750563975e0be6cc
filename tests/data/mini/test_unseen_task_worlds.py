"""Unseen tasks: every answer follows from the drawn scenes by the convention of its source."""

from collections import Counter
from random import Random

import pytest

from drake.data.sources.mini.worlds import (
    dreamsim,
    hq_edit,
    imagecode,
    mantis_contrastive_caption,
    recipeqa_imagecoherence,
    recipeqa_visualcloze,
)


def test_image_coherence_only_the_odd_picture_shows_a_food_of_the_other_recipe(draw):
    for draft, scenes in draw(recipeqa_imagecoherence.WORLD, "RecipeQA_ImageCoherence-0"):
        outside = [scene["food"] not in recipeqa_imagecoherence.STEW for scene in scenes]
        assert outside == [choice == draft.answer for choice in draft.choices]
        assert len({scene["food"] for scene in scenes}) == 4  # no food repeats, so likeness tells nothing


def test_visual_cloze_only_the_right_picture_shows_a_drink_of_the_series(draw):
    punch = set(recipeqa_visualcloze.PUNCH)
    for draft, scenes in draw(recipeqa_visualcloze.WORLD, "RecipeQA_VisualCloze-0"):
        series, candidates = scenes[:3], scenes[3:]
        assert {scene["drink"] for scene in series} < punch
        inside = [scene["drink"] in punch for scene in candidates]
        assert inside == [choice == draft.answer for choice in draft.choices]
        colours = [scene["drink"] for scene in candidates]
        assert len({*colours} - {scene["drink"] for scene in series}) == 4


def test_captions_name_the_person_of_one_picture(draw):
    for draft, scenes in draw(mantis_contrastive_caption.WORLD, "Mantis_contrastive_caption-0"):
        anna = [scene["shirt"] == mantis_contrastive_caption.ANNA for scene in scenes]
        assert anna == [choice == draft.answer for choice in draft.choices]


def test_longer_captions_need_both_the_person_and_the_place(draw):
    anna = mantis_contrastive_caption.ANNA
    for draft, scenes in draw(mantis_contrastive_caption.WORLD, "Mantis_contrastive_caption-1"):
        (place,) = [place for place in mantis_contrastive_caption.PLACES if place in draft.prompt]
        right = [scene["shirt"] == anna and scene["place"] == place for scene in scenes]
        assert right == [choice == draft.answer for choice in draft.choices]
        assert sum(scene["shirt"] == anna for scene in scenes) == 2
        assert sum(scene["place"] == place for scene in scenes) == 2


def test_edits_change_the_door_alone_and_to_or_from_festive(draw):
    for draft, (source, target) in draw(hq_edit.WORLD, "HQ_Edit-0"):
        assert {key for key in source if source[key] != target[key]} == {"door"}
        assert (source["door"] in hq_edit.FESTIVE) != (target["door"] in hq_edit.FESTIVE)
        assert draft.answer == str(target["door"] in hq_edit.FESTIVE)


def test_likeness_goes_by_mood_and_never_by_thing(draw):
    by_thing = Counter()
    drawn = draw(dreamsim.WORLD, "DreamSim-0")
    for draft, (left, reference, right) in drawn:
        alike, unlike = (left, right) if draft.answer == "Image A" else (right, left)
        assert {reference["colour"], alike["colour"]} <= set(dreamsim.CALM)
        assert unlike["colour"] in dreamsim.LOUD
        assert reference["colour"] != alike["colour"]
        assert (alike["thing"] == reference["thing"]) != (unlike["thing"] == reference["thing"])
        by_thing[alike["thing"] == reference["thing"]] += 1
    assert abs(by_thing[True] - by_thing[False]) < len(drawn) / 5


def test_frames_differ_in_the_room_alone_and_one_is_the_described(draw):
    for draft, scenes in draw(imagecode.WORLD, "imagecode-0"):
        right = [(scene["column"], scene["floor"]) == imagecode.STUDY for scene in scenes]
        assert right == [choice == draft.answer for choice in draft.choices]
        assert len({(scene["coat"], scene["roof"], scene["paper"], scene["sky"]) for scene in scenes}) == 1


@pytest.mark.parametrize(
    "world",
    [
        module.WORLD
        for module in (
            dreamsim,
            hq_edit,
            imagecode,
            mantis_contrastive_caption,
            recipeqa_imagecoherence,
            recipeqa_visualcloze,
        )
    ],
    ids=lambda world: world.source,
)
def test_every_value_of_every_attribute_changes_the_picture(world):
    scene = world.scene(Random(0))
    for attribute in world.attributes:
        pictures = {world.render(scene | {attribute.name: value}).tobytes() for value in attribute.values}
        assert len(pictures) == len(attribute.values)
        for value in attribute.values:
            assert world.scene(Random(1), **{attribute.name: value})[attribute.name] == value
