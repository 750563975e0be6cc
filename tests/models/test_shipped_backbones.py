"""The backbones that ship with the package: small, ordinary, and able to see."""

import pytest
import torch

from drake.models import backbones, checkpoints
from drake.models.tiny import SHAPES

MOST_BYTES = 12_000_000


def test_all_together_weigh_at_most_12_megabytes():
    assert sum(path.stat().st_size for path in checkpoints.WEIGHTS_FOLDER.rglob("*") if path.is_file()) <= MOST_BYTES


@pytest.mark.parametrize("name", checkpoints.embedded())
def test_a_shipped_backbone_has_its_shape_and_a_card(name):
    backbone = backbones.load(name)
    assert (backbone.num_layers, backbone.hidden_size) == (SHAPES[name].layers, SHAPES[name].width)
    assert backbone.family == SHAPES[name].family
    assert f"drake backbones train {name}" in (checkpoints.WEIGHTS_FOLDER / name / "README.md").read_text()


INSTRUCTED = ("tiny-llama-s", "tiny-llama-m")
"""Made by the recipe of docs/backbones.md; the Qwen pair is of the former recipe, public forms alone."""


@pytest.mark.parametrize("name", INSTRUCTED)
def test_an_instructed_backbone_answers_fresh_questions_of_the_tasks(name):
    """Chance is a third over all tasks; what was learned lies well above and well below everything."""
    from drake.models.tiny.corpus import Corpus
    from drake.models.tiny.instructions import as_items
    from drake.models.tiny.language import form_accuracy
    from drake.models.tiny.recipe import Recipe

    backbone = backbones.load(name)
    drawn = Recipe(name, excluded=frozenset()).questions("another part", public_share=0.0)
    items, seen = as_items([drawn.draw() for _ in range(940)], backbone.chat, backbone.model.model.vision_tower)
    found = form_accuracy(backbone.model, Corpus(items, seen), backbone.pad_id)
    assert len(found) == 47
    assert 0.45 < sum(found.values()) / 47 < 0.65


@pytest.mark.parametrize("name", sorted(set(checkpoints.embedded()) - set(INSTRUCTED)))
def test_a_shipped_backbone_names_what_pictures_show(name):
    """Public questions it was not trained on, of two forms, over all worlds: far above guessing (a third)."""
    from drake.models.tiny.recipe import Numbers, Recipe

    backbone = backbones.load(name)
    recipe = Recipe(name, numbers=Numbers(held_out=400), excluded=frozenset())
    found = recipe.held_out(backbone.model, backbone.chat, backbone.pad_id)
    assert found["name"] > 0.75
    assert found["open"] > 0.7


def test_the_default_models_of_the_cpu_presets_ship():
    from drake.federation.settings import preset

    for name in ("quick", "mini"):
        assert set(preset(name).models) <= set(checkpoints.embedded())


def test_batches_of_1_3_and_8_give_equal_answers_on_every_mini_task(micro_data):
    """Through an adapter that moves every answer, so that nothing hangs on what the bare backbone is sure of."""
    from drake.benchmark import load
    from drake.federation.settings import preset
    from drake.scoring.evaluate import answers, batches

    from drake.common.seeds import torch_generator
    from drake.federation import adapters

    backbone, benchmark = backbones.load("tiny-llama-s"), load(micro_data)
    adapters.add(backbone.model, ["some"], preset("mini").training)
    adapters.activate(backbone.model, "some")
    state = adapters.fresh(backbone.model, "some", torch_generator(0, "A"))
    noise = torch_generator(0, "B")
    state = {
        name: t if name.endswith("A") else 0.1 * torch.randn(t.shape, generator=noise) for name, t in state.items()
    }
    adapters.write(backbone.model, "some", state)
    records = [record for task in benchmark.tasks for record in benchmark.records(task, "test")]
    lengths = [backbone.prompt_length(record) for record in records]
    found = {}
    for size in (1, 3, 8):
        order = [i for group in batches(lengths, 4096) for i in group] if size == 3 else range(len(records))
        groups = [[records[i] for i in order[start : start + size]] for start in range(0, len(order), size)]
        said = answers(backbone, {0: lambda: backbone.model}, groups, max_new_tokens=6)
        found[size] = {answer.record: answer.token_ids for answer in said}
    assert len(found[1]) == len(records) == 4 * len(benchmark.tasks)
    assert len({tuple(ids) for ids in found[1].values()}) > 20
    assert found[3] == found[1]
    assert found[8] == found[1]
