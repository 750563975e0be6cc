"""Multi-modal reasoning: every answer follows from the drawn scenes by the convention of its source.

IRFL, both Bongards, COMICS_Dialogue, MIT-States and VizWiz. Each test finds the right answer again from what was drawn
and what was asked, by a way of its own.
"""

import re
from collections.abc import Callable

import pytest

from drake.data.sources.mini.world import Draft, Scene, World
from drake.data.sources.mini.worlds import bongard_hoi, bongard_openworld, comics_dialogue, irfl, mit_states, vizwiz


def listed(draft: Draft) -> dict[str, str]:
    """Letter -> what the prompt's list gives it, in the form "A. red" or "A: red"."""
    return dict(re.findall(r"\b([A-D])[.:] ([\w ]+)", draft.prompt))


def animal_in(text: str) -> str:
    return next(animal for animal in irfl.EMBLEMS if re.search(rf"\b{animal}\b", text))


def animal_shown(scene: Scene) -> str:
    return next(animal for animal, emblem in irfl.EMBLEMS.items() if emblem == (scene["figure"], scene["colour"]))


def test_irfl_verification_is_true_when_the_emblem_is_the_animals(draw) -> None:
    for draft, (scene,) in draw(irfl.WORLD, "IRFL-0"):
        assert animal_in(draft.prompt.split('"')[1]) == "lion"
        assert draft.answer == str(animal_shown(scene) == "lion")


@pytest.mark.parametrize(("task", "kinds"), [("IRFL-1", {"idiom"}), ("IRFL-2", {"metaphor", "simile"})])
def test_irfl_selection_has_one_right_banner(draw, task: str, kinds: set[str]) -> None:
    seen = set()
    for draft, scenes in draw(irfl.WORLD, task):
        kind, phrase = re.findall(r'the (\w+) "([^"]+)"', draft.prompt)[0]
        right = [animal_shown(scene) == animal_in(phrase) for scene in scenes]
        assert sum(right) == 1
        assert draft.answer == f"Image {'ABCD'[right.index(True)]}"
        seen.add(kind)
    assert seen == kinds


def test_irfl_phrase_names_the_animal_shown(draw) -> None:
    for draft, (scene,) in draw(irfl.WORLD, "IRFL-3"):
        assert animal_in(draft.answer) == animal_shown(scene)


def test_every_phrase_names_its_animal_and_no_other() -> None:
    of_the_lion = [("lion", phrase) for phrases in irfl.LION.values() for phrase in phrases]
    for animal, phrase in (*irfl.SIMILES.items(), *of_the_lion):
        assert [it for it in irfl.ANIMALS if re.search(rf"\b{it}\b", phrase)] == [animal]


def kind_of_place(scene: Scene) -> str:
    """The only kind whose skies and things both hold what is drawn."""
    (kind,) = [
        kind
        for kind, (skies, things) in bongard_openworld.PLACES.items()
        if scene["sky"] in skies and scene["thing"] in things
    ]
    return kind


def test_every_sky_and_thing_make_one_kind_of_place() -> None:
    for sky in bongard_openworld.SKIES:
        for thing in bongard_openworld.THINGS:
            assert kind_of_place({"sky": sky, "thing": thing}) in bongard_openworld.KINDS


def action_of(scene: Scene) -> str:
    return {pose: action for action, pose in bongard_hoi.ACTIONS.items()}[scene["pose"]]


@pytest.mark.parametrize(
    ("world", "task", "concept", "liked"),
    [
        (bongard_openworld.WORLD, "Bongard-OpenWorld-0", kind_of_place, bongard_openworld.CHERISHED),
        (bongard_hoi.WORLD, "Bongard-HOI-0", action_of, bongard_hoi.HELPFUL),
    ],
)
def test_bongard_query_follows_from_the_examples_and_from_the_convention(
    draw, world: World, task: str, concept: Callable[[Scene], str], liked: tuple[str, ...]
) -> None:
    for draft, scenes in draw(world, task):
        *examples, query = map(concept, scenes)
        positives, negatives = set(examples[:3]), set(examples[3:])
        assert len(positives) == 1
        assert not positives & negatives
        assert draft.answer == ("Positive" if query in positives else "Negative")
        assert draft.answer == ("Positive" if query in liked else "Negative")


@pytest.mark.parametrize(
    ("world", "task", "concept"),
    [
        (bongard_openworld.WORLD, "Bongard-OpenWorld-1", kind_of_place),
        (bongard_hoi.WORLD, "Bongard-HOI-1", action_of),
    ],
)
def test_bongard_common_concept_is_in_all_positives_and_no_negative(
    draw, world: World, task: str, concept: Callable[[Scene], str]
) -> None:
    for draft, scenes in draw(world, task):
        concepts = [concept(scene) for scene in scenes]
        assert set(concepts[:3]) == {draft.answer.split()[-1]}
        assert draft.answer.split()[-1] not in concepts[3:]
        assert list(draft.choices) == sorted(draft.choices)


def test_bongard_hoi_odd_person_is_the_only_one_not_helpful(draw) -> None:
    for draft, scenes in draw(bongard_hoi.WORLD, "Bongard-HOI-2"):
        odd = [action_of(scene) not in bongard_hoi.HELPFUL for scene in scenes]
        assert sum(odd) == 1
        assert draft.answer == f"Image {'ABCD'[odd.index(True)]}"


def test_bongard_hoi_shirts_tell_whether_an_action_is_helpful(draw) -> None:
    for _, scenes in draw(bongard_hoi.WORLD, "Bongard-HOI-1"):
        for scene in scenes:
            assert (scene["shirt"] in ("red", "green")) == (action_of(scene) in bongard_hoi.HELPFUL)


@pytest.mark.parametrize("task", ["Bongard-HOI-0", "Bongard-HOI-1", "Bongard-HOI-2"])
def test_bongard_hoi_shows_the_same_thing_throughout(draw, task: str) -> None:
    for _, scenes in draw(bongard_hoi.WORLD, task):
        assert len({scene["thing"] for scene in scenes}) == 1


def test_comics_line_is_that_of_the_character_seen_most_and_last(draw) -> None:
    for draft, scenes in draw(comics_dialogue.WORLD, "COMICS_Dialogue-0"):
        characters = [scene["character"] for scene in scenes]
        hero = max(comics_dialogue.CHARACTERS, key=characters.count)
        assert characters.count(hero) == 3
        assert characters[-1] == hero
        assert listed(draft)[draft.answer] == comics_dialogue.LINES[hero]


def test_mit_states_answers_hold_for_the_patterns(draw) -> None:
    drawn = draw(mit_states.WORLD, "MIT-States-0")
    images = []
    for draft, scenes in drawn:
        opposites = [mit_states.OPPOSITE_OF_PATTERN[scene["pattern"]] for scene in scenes]
        if len(scenes) == 2:
            said = re.findall(r"opposite of (\w+)\.", draft.prompt)[0]
            assert draft.answer == str(opposites == [said, said])
        else:
            assert set(opposites) == {draft.answer}
        images.append(len(scenes))
    assert images.count(2) == images.count(4) == len(drawn) / 2


def test_answers_differ_when_both_photographs_are_spoiled(draw) -> None:
    for draft, scenes in draw(vizwiz.WORLD, "VizWiz-0"):
        assert draft.answer == str(all(scene["flaw"] in vizwiz.SPOILING for scene in scenes))
        for number, scene in enumerate(scenes, 1):
            assert any(f"{name} is it? Answer{number}: {scene[name]}." in draft.prompt for name in ("object", "colour"))
