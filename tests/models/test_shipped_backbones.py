"""The backbones that ship with the package: small, ordinary, and able to see."""

from statistics import median

import pytest
import torch

from drake.models import backbones, checkpoints
from drake.models.tiny import CUT_FROM, SHAPES

MOST_BYTES = 12_000_000


def test_all_together_weigh_at_most_12_megabytes():
    assert sum(path.stat().st_size for path in checkpoints.WEIGHTS_FOLDER.rglob("*") if path.is_file()) <= MOST_BYTES


@pytest.mark.parametrize("name", checkpoints.embedded())
def test_a_shipped_backbone_has_its_shape_and_a_card(name):
    backbone = backbones.load(name)
    assert (backbone.num_layers, backbone.hidden_size) == (SHAPES[name].layers, SHAPES[name].width)
    assert backbone.family == SHAPES[name].family
    assert f"drake backbones train {name}" in (checkpoints.WEIGHTS_FOLDER / name / "README.md").read_text()


@pytest.mark.parametrize("name", checkpoints.embedded())
def test_a_shipped_backbone_knows_part_of_what_the_tasks_ask_and_names_what_it_sees(name):
    """On fresh questions: of the tasks well above chance (a third) and far below everything, so that clients have
    something to learn; of the public forms, naming is known."""
    from drake.models.tiny.corpus import Corpus
    from drake.models.tiny.instructions import as_items
    from drake.models.tiny.language import form_accuracy
    from drake.models.tiny.recipe import Numbers, Recipe

    backbone = backbones.load(name)
    recipe = Recipe(name, numbers=Numbers(held_out=400), excluded=frozenset())
    drawn = recipe.questions("another part", public_share=0.0)
    items, seen = as_items([drawn.draw() for _ in range(940)], backbone.chat, backbone.model.model.vision_tower)
    found = form_accuracy(backbone.model, Corpus(items, seen), backbone.pad_id)
    assert len(found) == 47
    assert 0.40 < sum(found.values()) / 47 < 0.55
    public = recipe.held_out(backbone.model, backbone.chat, backbone.pad_id)
    assert public["name"] > 0.5
    assert public["open"] > 0.5


@pytest.mark.parametrize(("small", "medium"), CUT_FROM.items())
def test_a_layer_of_a_small_backbone_is_most_like_the_medium_ones_at_its_own_depth(small, medium, micro_data):
    from drake_methods.cka import best_matches, layer_similarity

    from drake.data.benchmark import load

    records = [load(micro_data).public[row] for row in range(60)]
    matches = best_matches(layer_similarity(backbones.load(small), backbones.load(medium), records))
    assert median(abs(match.depth - match.best_depth) for match in matches) < 0.08
    assert all(abs(match.depth - match.best_depth) <= 0.15 for match in matches)


def test_the_default_models_of_the_cpu_presets_ship():
    from drake.config import preset

    for name in ("quick", "mini"):
        assert set(preset(name).models) <= set(checkpoints.embedded())


def test_batches_of_1_3_and_8_give_equal_answers_on_every_mini_task(micro_data):
    """Through an adapter that moves every answer, so that nothing hangs on what the bare backbone is sure of."""
    from drake.common.seeds import torch_generator
    from drake.config import preset
    from drake.data.benchmark import load
    from drake.federation import adapters
    from drake.scoring.generation import answers, batches

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
