"""The recipe of the tiny backbones in numbers too small to learn anything: what is written, and the same bits."""

from functools import partial
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from drake.data.sources.mini.worlds import all_worlds
from drake.errors import DrakeError, UnknownName
from drake.models import backbones
from drake.models.tiny import CUT_FROM, SHAPES, Numbers, recipe, train

NAME = "tiny-qwen-s"
FEW = Numbers(vision=2, align=2, instruct=2, distil=2, words=40, measured=1, held_out=20)


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Train on three worlds, two steps of everything; the tower is kept in the same file each time it is given."""
    folder = tmp_path_factory.mktemp("pretrain")
    few = dict(islice(all_worlds().items(), 3))
    threads = torch.get_num_threads()

    def made(out: str, name: str = NAME, **options) -> Path:
        options = {"vision": folder / "vision.safetensors", "numbers": FEW, "log": lambda line: None} | options
        score = {"score": lambda checkpoint: {"NLVR2-0": backbones.load(checkpoint).num_layers / 100}}
        return train(name, folder / out / name, **score | options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "all_worlds", lambda: few)
        patch.setattr(recipe, "align", partial(recipe.align, per_world=32))
        patch.setattr(recipe, "suite_hashes", frozenset)
        yield made
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def first(make) -> Path:
    return make("first")


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the card, which tells the minutes it took."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "README.md"}


def test_what_is_made_opens_like_any_checkpoint(first):
    found = backbones.load(first)
    assert (found.family, found.num_layers, found.hidden_size) == ("qwen", SHAPES[NAME].layers, SHAPES[NAME].width)
    draft = recipe.Recipe(NAME, excluded=frozenset()).questions("words").draw().draft
    words = {"id": "x", "prompt": draft.prompt.replace("<image>", ""), "images": [], "answer": draft.answer}
    batch = found.batch([words], answers=True)
    assert found.decode(batch.labels[batch.labels != backbones.IGNORED]) == draft.answer
    assert all(tensor.dtype == torch.float16 for tensor in load_file(first / "model.safetensors").values())
    card = (first / "README.md").read_text()
    assert f"drake backbones train {NAME} --seed 0" in card
    assert "Cut from tiny-qwen-m" in card
    assert "| name | " in card
    assert f"| NLVR2-0 | {SHAPES[NAME].layers}.0 |" in card


def test_a_small_backbone_shares_the_words_and_the_tower_of_the_medium_one_beside_it(first):
    medium = first.parent / CUT_FROM[NAME]
    assert backbones.load(medium).num_layers == SHAPES[CUT_FROM[NAME]].layers
    shared = ("tokenizer.json", "tokenizer_config.json", "processor_config.json", "chat_template.jinja")
    assert all((medium / file).read_bytes() == (first / file).read_bytes() for file in shared)
    stored, tower = load_file(medium / "model.safetensors"), load_file(first.parents[1] / "vision.safetensors")
    small = load_file(first / "model.safetensors")
    of_tower = {name: tensor for name, tensor in small.items() if "vision" in name}
    assert len(of_tower) == len(tower)
    for name, tensor in tower.items():
        (key,) = (key for key in of_tower if key.endswith(name.removeprefix("vision_model.")))
        assert torch.equal(of_tower[key], tensor)
        assert torch.equal(stored[key], tensor)


def test_the_same_seed_gives_the_same_bits_whether_tower_and_medium_one_are_kept_or_made(make, first):
    torch.manual_seed(99)
    assert contents(make("kept", medium=first.parent / CUT_FROM[NAME])) == contents(first)
    assert contents(make("anew", vision=None)) == contents(first)


def test_another_seed_gives_another_backbone(make, first):
    other = contents(make("other", seed=1))
    assert other.keys() == contents(first).keys()
    assert other["model.safetensors"] != contents(first)["model.safetensors"]


def test_a_medium_backbone_of_another_shape_is_refused(make, first, tmp_path):
    with pytest.raises(DrakeError, match="holds no tiny-qwen-m, from which tiny-qwen-s is cut"):
        make("wrong", medium=first)


def test_an_unknown_name_makes_nothing(tmp_path):
    with pytest.raises(UnknownName, match="unknown tiny backbone 'tiny-lama-s'; did you mean 'tiny-llama-s'"):
        train("tiny-lama-s", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
