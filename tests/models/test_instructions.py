"""What backbones are trained on: fresh draws that are no record of the suite."""

import io
from itertools import islice

import pytest
from PIL import Image

from drake.data.sources.mini import suite
from drake.data.sources.mini.worlds import all_worlds
from drake.models.tiny import recipe
from drake.models.tiny.instructions import Questions, content_hash

SIMPLE = ("imagecode", "RecipeQA_VisualCloze", "COMICS_Dialogue")
"""Worlds of few different pictures, where draws of another purpose repeat the suite's by chance."""


@pytest.fixture(scope="module")
def few():
    return {name: world for name, world in all_worlds().items() if name in SIMPLE}


@pytest.fixture(scope="module")
def records(few):
    """All records of these worlds in the suite's default sizes, with decoded pictures."""
    drawn = [suite.records_of_world(0, suite.Sizes(400, 100, 400), name) for name in few]
    return [record for world in drawn for _, record in (*world.tasks, *world.public)]


def pixels(picture: Image.Image) -> bytes:
    return picture.convert("RGB").tobytes()


def contents(questions) -> list[tuple[str, tuple[bytes, ...]]]:
    return [(q.draft.prompt, tuple(map(pixels, q.draft.images))) for q in questions]


def test_no_training_record_of_a_backbone_is_a_record_of_the_suite(few, records, monkeypatch):
    """Compared by prompt and pixels; the draws alone, unless the suite's are left out, do repeat some."""
    stored = {(r.prompt, tuple(pixels(Image.open(io.BytesIO(image))) for image in r.images)) for r in records}
    hashes = frozenset(content_hash(r.prompt, r.images) for r in records)
    monkeypatch.setattr(recipe, "all_worlds", lambda: few)
    careless = recipe.Recipe("tiny-llama-m", excluded=frozenset()).questions("instruct")
    assert any(content in stored for content in contents(careless.draw() for _ in range(3000)))
    for name, part in (("tiny-llama-m", "instruct"), ("tiny-llama-s", "distil"), ("tiny-qwen-m", "instruct")):
        drawn = recipe.Recipe(name, excluded=hashes).questions(part)
        assert not any(content in stored for content in contents(drawn.draw() for _ in range(3000)))


def test_the_suite_is_left_out_unless_another_set_is_given(records, monkeypatch):
    from drake.models.tiny import instructions

    monkeypatch.setattr(instructions, "suite_records", lambda seed, workers: (("train", r) for r in records[:5]))
    assert recipe.Recipe("tiny-llama-m").excluded == {content_hash(r.prompt, r.images) for r in records[:5]}


def test_an_excluded_question_is_skipped_and_the_next_one_comes(few):
    def supply(excluded=frozenset()):
        return Questions(few.values(), seed=0, part="test", excluded=excluded)

    first, second = (q.draft for q in islice(iter(supply().draw, None), 2))
    drawn = supply(frozenset({content_hash(first.prompt, [suite.png(image) for image in first.images])})).draw()
    assert drawn.draft.prompt == second.prompt
    assert drawn.draft.answer == second.answer


def test_a_task_takes_its_share_of_the_turns_and_public_forms_the_rest(few):
    questions = Questions(few.values(), seed=0, part="test", excluded=frozenset(), public_share=0.25)
    assert set(questions.weights) == {"imagecode-0", "RecipeQA_VisualCloze-0", "COMICS_Dialogue-0"}
    questions.weights = {"imagecode-0": 1.0, "RecipeQA_VisualCloze-0": 0.5, "COMICS_Dialogue-0": 0.0}
    kinds = [questions.draw().kind for _ in range(1200)]
    counts = {task: kinds.count(task) for task in questions.weights}
    assert counts["COMICS_Dialogue-0"] == 0
    assert 260 <= counts["imagecode-0"] <= 340  # a quarter
    assert 120 <= counts["RecipeQA_VisualCloze-0"] <= 180  # an eighth
    assert {"name", "open", "letter", "verify", "select"} <= set(kinds)


def test_the_two_families_draw_different_questions(few, monkeypatch):
    monkeypatch.setattr(recipe, "all_worlds", lambda: few)
    supplies = [
        recipe.Recipe(name, excluded=frozenset()).questions("instruct") for name in ("tiny-llama-m", "tiny-qwen-m")
    ]
    llama, qwen = (set(contents(supply.draw() for _ in range(200))) for supply in supplies)
    assert len(llama & qwen) < 5
