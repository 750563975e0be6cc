"""Full fine-tuning on instructions."""

from random import Random

import pytest
import torch

from drake.data.sources.mini.worlds import all_worlds
from drake.models.prompts import Chat
from drake.models.tiny import Shape, instruct, new_model, new_processor, new_tokenizer
from drake.models.tiny.instructions import Questions


@pytest.fixture(scope="module")
def setup():
    """(model, chat, supply of questions of one world and task)."""
    world = all_worlds()["iconqa"]

    def supply() -> Questions:
        return Questions([world], seed=0, part="test", excluded=frozenset(), public_share=0.5)

    drawn = supply()
    drafts = [drawn.draw().draft for _ in range(60)]
    tokenizer = new_tokenizer("llama", [text for d in drafts for text in (d.prompt, d.answer)], 500)
    model = new_model(Shape("llama", layers=2, width=16, feed_forward=32), tokenizer, seed=0)
    return model, Chat(new_processor("llama", tokenizer)), supply


def test_projector_and_language_model_are_trained_and_the_tower_is_not(setup):
    model, chat, supply = setup
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    lines: list[str] = []
    accuracy = instruct.instruct(
        model, chat, supply(), steps=100, rng=Random(0), pad=chat.tokenizer.pad_token_id, batch=4, log=lines.append
    )
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not any("vision_tower" in name for name in changed)
    assert changed == {name for name in before if "vision_tower" not in name}
    assert set(accuracy) > {"name", "iconqa-0", "iconqa-2"}
    assert all(0 <= value <= 1 for value in accuracy.values())
    assert lines[0].startswith("instruct 100/100, ")


def test_a_task_at_its_limit_is_drawn_rarely(setup):
    """With a limit far below chance every task is at it, with one above all right answers none."""
    model, chat, supply = setup
    for enough, weight in ((-1.0, instruct.RARELY), (1.1, 1.0)):
        questions = supply()
        settings = {"steps": 3, "rng": Random(0), "pad": chat.tokenizer.pad_token_id, "batch": 8, "enough": enough}
        asked = instruct.instruct(model, chat, questions, **settings)
        assert {questions.weights[task] for task in asked if task in questions.weights} == {weight}
