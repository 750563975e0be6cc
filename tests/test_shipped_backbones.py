"""The backbones that ship with the package: small, ordinary, and able to see."""

import pytest
import torch

from drake import backbones
from drake.pretrain import SHAPES

MOST_BYTES = 12_000_000


def test_all_together_weigh_at_most_12_megabytes():
    assert sum(path.stat().st_size for path in backbones.WEIGHTS_FOLDER.rglob("*") if path.is_file()) <= MOST_BYTES


@pytest.mark.parametrize("name", backbones.embedded())
def test_a_shipped_backbone_has_its_shape_and_a_card(name):
    backbone = backbones.load(name)
    assert (backbone.num_layers, backbone.hidden_size) == (SHAPES[name].layers, SHAPES[name].width)
    assert backbone.family == SHAPES[name].family
    assert f"drake backbones train {name}" in (backbones.WEIGHTS_FOLDER / name / "README.md").read_text()


@pytest.mark.parametrize("name", backbones.embedded())
def test_a_shipped_backbone_names_what_pictures_show(name):
    """Public questions it was not trained on, of two forms, over all worlds: far above guessing (a third)."""
    from drake.build.mini.worlds import all_worlds
    from drake.pretrain.corpus import corpus
    from drake.pretrain.language import form_accuracy

    backbone = backbones.load(name)
    worlds, tower = list(all_worlds().values()), backbone.model.model.vision_tower
    held_out = corpus(worlds, backbone.chat, tower, per_world=16, seed=0, part="held-out")
    with torch.no_grad():
        found = form_accuracy(backbone.model, held_out, backbone.pad_id)
    assert found["name"] > 0.75
    assert found["open"] > 0.7


def test_the_default_models_of_the_cpu_presets_ship():
    from drake.federation.settings import preset

    for name in ("quick", "mini"):
        assert set(preset(name).models) <= set(backbones.embedded())
