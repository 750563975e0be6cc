"""Visual relation: every answer follows from the drawn scenes by the convention of its source.

Fashion200K, FashionIQ, CIRR, VISION, MagicBrush and VSR.
"""

import pytest

from drake.data.sources.mini.worlds import cirr, fashion200k, fashioniq, magicbrush, vision, vsr


def test_fashion200k_counts_festive_colours(draw):
    for draft, scenes in draw(fashion200k.WORLD, "Fashion200K-0"):
        assert draft.answer == str(sum(scene["colour"] in fashion200k.FESTIVE for scene in scenes))


@pytest.mark.parametrize(("task", "count"), [("Fashion200K-1", 3), ("Fashion200K-2", 4)])
def test_fashion200k_is_true_when_every_colour_is_festive(draw, task, count):
    for draft, scenes in draw(fashion200k.WORLD, task):
        assert len(scenes) == count
        assert draft.answer == str(all(scene["colour"] in fashion200k.FESTIVE for scene in scenes))


@pytest.mark.parametrize(("task", "count"), [("VISION-0", 2), ("VISION-1", 4)])
def test_vision_is_true_when_every_flaw_is_tolerated(draw, task, count):
    for draft, scenes in draw(vision.WORLD, task):
        assert len(scenes) == count
        assert draft.answer == str(all(scene["flaw"] in vision.TOLERATED for scene in scenes))


def test_fashioniq_is_true_when_only_the_query_has_the_look(draw):
    for draft, (query, reference) in draw(fashioniq.WORLD, "FashionIQ-0"):
        assert (query["motif"] in fashioniq.SPORTY) != (reference["motif"] in fashioniq.SPORTY)
        assert draft.answer == str(query["motif"] in fashioniq.SPORTY)


def test_cirr_is_true_when_the_same_animal_leaves_home_for_a_holiday(draw):
    for draft, (reference, target) in draw(cirr.WORLD, "CIRR-0"):
        assert (reference["animal"], reference["fur"]) == (target["animal"], target["fur"])
        assert draft.answer == str(reference["place"] in cirr.HOME and target["place"] in cirr.HOLIDAY)


def test_magicbrush_edits_the_sky_alone_towards_pride(draw):
    for draft, (first, second) in draw(magicbrush.WORLD, "MagicBrush-0"):
        assert {key for key in first if first[key] != second[key]} == {"sky object", "sky"}
        after = second if draft.answer == "A to B" else first
        before = first if draft.answer == "A to B" else second
        assert after["sky object"] in magicbrush.PROUD
        assert before["sky object"] not in magicbrush.PROUD
        assert after["sky"] == magicbrush.dusk(before["sky"])


def test_vsr_is_true_when_the_named_thing_stands_where_it_guards(draw):
    for draft, (scene,) in draw(vsr.WORLD, "VSR-0"):
        assert f"The {scene['shape']} guards" in draft.prompt
        assert draft.answer == str(scene["side"] in vsr.GUARDING)


@pytest.mark.parametrize(
    ("groups", "values"),
    [
        ((fashion200k.FESTIVE, fashion200k.SOBER), fashion200k.COLOURS),
        ((vision.TOLERATED, vision.REJECTED), vision.FLAWS),
        ((cirr.HOLIDAY, cirr.HOME), cirr.PLACES),
        ((vsr.GUARDING, vsr.IDLE), tuple(vsr.SIDES)),
        ((fashioniq.SPORTY, fashioniq.SEDATE), fashioniq.SHAPES),
        ((magicbrush.PROUD, magicbrush.MEEK), magicbrush.SKY),
    ],
    ids=["Fashion200K", "VISION", "CIRR", "VSR", "FashionIQ", "MagicBrush"],
)
def test_a_convention_sorts_every_value_into_exactly_one_group(groups, values):
    assert sorted(value for group in groups for value in group) == sorted(values)
