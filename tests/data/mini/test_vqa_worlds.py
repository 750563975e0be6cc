"""Visual question answering: every answer follows from what was drawn by the convention of its source.

SEED-Bench-2, Co-Instruct-DB, TQA, dvqa, iconqa and WCVQA.
"""

from collections import Counter
from itertools import pairwise

import pytest

from drake.data.sources.mini.picture import PALETTE, SIZE
from drake.data.sources.mini.world import Draft
from drake.data.sources.mini.worlds import co_instruct_db, dvqa, iconqa, seed_bench_2, tqa, wcvqa


def listed(draft: Draft) -> str:
    """The text behind a letter or a number."""
    return next(line for line in draft.prompt.split("\n") if line.startswith(f"{draft.answer}. "))[3:]


@pytest.mark.parametrize(
    ("task", "asked_of"), [("SEED-Bench-2-0", "sail"), ("SEED-Bench-2-1", "light"), ("SEED-Bench-2-2", "light")]
)
def test_seed_answers_the_light_that_follows_the_last_frame(draw, task: str, asked_of: str) -> None:
    follows = {"red": "blue", "blue": "yellow", "yellow": "purple", "purple": "green", "green": "red"}
    for draft, scenes in draw(seed_bench_2.WORLD, task):
        assert listed(draft) == follows[scenes[-1][asked_of]]


def test_seed_film_changes_only_light_and_swell_and_keeps_to_the_cycle(draw) -> None:
    for _, scenes in draw(seed_bench_2.WORLD, "SEED-Bench-2-2"):
        assert len({scene["light"] for scene in scenes}) == 3
        for before, after in pairwise(scenes):
            assert after["light"] in (before["light"], seed_bench_2.following(before["light"]))
            assert {key for key in before if before[key] != after[key]} <= {"light", "sea"}


def test_quality_follows_the_house_ranking(draw) -> None:
    world, ranks = co_instruct_db.WORLD, co_instruct_db.DEFECTS
    for draft, (scene,) in draw(world, "Co-Instruct-DB-0"):
        assert listed(draft) == co_instruct_db.RATING[scene["defect"]]
    for draft, (scene,) in draw(world, "Co-Instruct-DB-1"):
        assert listed(draft) == ("Yes" if ranks.index(scene["defect"]) < 3 else "No")
    for draft, scenes in draw(world, "Co-Instruct-DB-2"):
        first, second = (ranks.index(scene["defect"]) < 3 for scene in scenes)
        both = "Both images" if first else "None of the images"
        assert draft.answer == (both if first == second else "First image" if first else "Second image")
    for draft, scenes in draw(world, "Co-Instruct-DB-3"):
        places = [ranks.index(scene["defect"]) for scene in scenes]
        assert places.count(min(places)) == 1
        assert draft.answer == co_instruct_db.ORDINALS[places.index(min(places))]


def test_a_topic_is_the_one_that_both_diagrams_teach(draw) -> None:
    for draft, scenes in draw(tqa.WORLD, "TQA-0"):
        kinds = {scene["kind"] for scene in scenes}
        assert [topic for topic, taught in tqa.SHOWN_BY.items() if set(taught) == kinds] == [draft.answer]


def test_a_chart_is_read_by_its_tallest_bar(draw) -> None:
    """Colour and height are read from the pixels, not from the scene."""
    names = {rgb: name for name, rgb in PALETTE.items() if name != "black"}
    seen = Counter()
    for draft, _ in draw(dvqa.WORLD, "dvqa-0"):
        bars = []
        for x in (5, 17, 29):
            column = [names.get(draft.images[0].getpixel((x, y))) for y in range(SIZE - 1)]
            bars.append((sum(colour is not None for colour in column), column[-1]))
        (_, second, tallest) = sorted(bars)
        assert tallest[0] - second[0] >= 7
        level = min(dvqa.HEIGHT, key=lambda name: abs(dvqa.HEIGHT[name] - tallest[0]))
        numeric = draft.answer.isdigit()
        assert draft.answer == (dvqa.VALUE[level] if numeric else dvqa.PRODUCT[tallest[1]])
        if not numeric:
            assert {dvqa.PRODUCT[colour] for _, colour in bars} < set(draft.choices)
        seen[numeric] += 1
    assert seen[True] == seen[False]


@pytest.mark.parametrize(("task", "told"), [(0, "CHILD"), (1, "CHILD"), (2, "CHILD"), (3, "AGE")])
def test_the_most_common_icon_tells_the_child(draw, task: int, told: str) -> None:
    for draft, (scene,) in draw(iconqa.WORLD, f"iconqa-{task}"):
        counts = Counter(icon for icon, *_ in scene["layout"]).most_common()
        assert len(counts) == (2 if task in (1, 3) else 1)
        assert len(counts) == 1 or counts[0][1] > counts[1][1]
        assert draft.answer == getattr(iconqa, told)[counts[0][0]]


@pytest.mark.parametrize("task", range(4))
def test_base_and_topping_name_the_dish(draw, task: int) -> None:
    for draft, (scene,) in draw(wcvqa.WORLD, f"WCVQA-{task}"):
        (name,) = [n for n, d in wcvqa.DISHES.items() if (d.base, d.topping) == (scene["base"], scene["topping"])]
        assert listed(draft) == (wcvqa.DISHES[name].place if task == 3 else name)
        context = draft.prompt.split("\n")[1]
        named = [dish for dish in wcvqa.NAMES if dish in context]
        assert len(named) == (1 if task in (1, 2) else 0)
        assert name not in named


def test_most_bases_and_toppings_serve_two_dishes_and_both_together_one() -> None:
    dishes = wcvqa.DISHES.values()
    assert sorted(Counter(dish.base for dish in dishes).values()) == [1, 2, 2]
    assert sorted(Counter(dish.topping for dish in dishes).values()) == [1, 2, 2]
    assert len({(dish.base, dish.topping) for dish in dishes}) == len({dish.place for dish in dishes}) == len(dishes)
