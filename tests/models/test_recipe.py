"""The recipe of the tiny backbones in numbers too small to learn anything: what is written, and the same bits."""

from functools import partial
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from drake.data.sources.mini.worlds import all_worlds
from drake.errors import UnknownName
from drake.models import backbones
from drake.models.tiny import SHAPES, language, recipe, train

NAME = "tiny-qwen-s"


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Train with three worlds and two steps of everything; the tower is kept in the same file each time it is given."""
    folder = tmp_path_factory.mktemp("pretrain")
    few = dict(islice(all_worlds().items(), 3))
    lesson = language.Lesson(len(few), ("name", "verify"), 2, 0.9)
    threads = torch.get_num_threads()

    def made(out: str, **options) -> Path:
        numbers = {"vision_steps": 2, "final_steps": 2, "per_world": 6, "held_out": 2, "log": lambda line: None}
        numbers["score"] = lambda checkpoint: {"NLVR2-0": backbones.load(checkpoint).num_layers / 100}
        return train(NAME, folder / out, **numbers | {"vision": folder / "vision.safetensors"} | options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "all_worlds", lambda: few)
        patch.setattr(recipe, "align", partial(recipe.align, per_world=32, steps=2))
        patch.setattr(recipe, "teach", partial(recipe.teach, lessons=(lesson,), batch=8))
        texts = recipe.public_drafts
        patch.setattr(recipe, "public_drafts", lambda world, count, *rest: texts(world, min(count, 20), *rest))
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
    world = next(iter(all_worlds().values()))
    form, draft = next(recipe.public_drafts(world, 1, 0, "train"))
    record = {"id": form, "prompt": draft.prompt, "images": [], "answer": draft.answer}
    words = record | {"prompt": draft.prompt.replace("<image>", "")}
    batch = found.batch([words], answers=True)
    assert found.decode(batch.labels[batch.labels != backbones.IGNORED]) == draft.answer
    assert all(tensor.dtype == torch.float16 for tensor in load_file(first / "model.safetensors").values())
    card = (first / "README.md").read_text()
    assert f"drake backbones train {NAME} --seed 0" in card
    assert "| name | " in card
    assert f"| NLVR2-0 | {SHAPES[NAME].layers}.0 |" in card


def test_it_has_been_trained_on_the_kept_tower(first):
    tower = load_file(first.parent / "vision.safetensors")
    stored = load_file(first / "model.safetensors")
    of_tower = {name: tensor for name, tensor in stored.items() if "vision" in name}
    assert len(of_tower) == len(tower)
    for name, tensor in tower.items():
        (found,) = (value for key, value in of_tower.items() if key.endswith(name.removeprefix("vision_model.")))
        assert torch.equal(found, tensor.to(recipe.STORED))


def test_the_same_seed_gives_the_same_bits_whether_the_tower_is_kept_or_made(make, first):
    torch.manual_seed(99)
    assert contents(make("kept")) == contents(first)
    assert contents(make("anew", vision=None)) == contents(first)


def test_another_seed_gives_another_backbone(make, first):
    other = contents(make("other", seed=1))
    assert other.keys() == contents(first).keys()
    assert other["model.safetensors"] != contents(first)["model.safetensors"]


def test_an_unknown_name_makes_nothing(tmp_path):
    with pytest.raises(UnknownName, match="unknown tiny backbone 'tiny-lama-s'; did you mean 'tiny-llama-s'"):
        train("tiny-lama-s", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
