"""Weights in 8 or 4 bits, as far as a machine without a GPU reaches: what transformers is asked for, and refusals."""

import json
import shutil
from importlib.metadata import version

import pytest
import torch
from transformers import AutoModelForImageTextToText
from vision_language import write_checkpoint

from drake.config import configure
from drake.errors import DrakeError
from drake.models import backbones, quantising
from drake.runs import Setup


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_checkpoint("smolvlm", tmp_path_factory.mktemp("quantised") / "smolvlm")


@pytest.fixture
def with_package(monkeypatch):
    """As if bitsandbytes were installed."""
    monkeypatch.setattr(quantising, "find_spec", lambda name: name == "bitsandbytes")
    known = {"bitsandbytes": "0.49.0"}
    monkeypatch.setattr("importlib.metadata.version", lambda name: known.get(name) or version(name))


@pytest.fixture
def stored(folder, tmp_path):
    """A checkpoint that bitsandbytes has written, by its config.json."""
    copy = shutil.copytree(folder, tmp_path / "stored")
    config = json.loads((copy / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (copy / "config.json").write_text(json.dumps(config))
    return copy


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_without_the_package_one_sentence_says_what_to_install(folder, bits):
    with pytest.raises(DrakeError) as caught:
        backbones.load(folder, load_in=bits)
    assert str(caught.value) == (
        f"--load-in {bits} needs the package bitsandbytes; install it: pip install drake-bench[quantised]."
    )


def test_without_a_gpu_one_sentence_says_so_and_no_run_is_claimed(folder, with_package, micro_data):
    with pytest.raises(
        DrakeError, match=r"^--load-in 4bit needs a CUDA GPU, and the device is cpu; choose --device cuda, or "
    ):
        Setup(configure("sft", "quick", models=[str(folder)], data=micro_data, load_in="4bit", device="cpu"))


def test_a_quantised_checkpoint_needs_the_same_and_is_not_quantised_again(stored, with_package, monkeypatch):
    with pytest.raises(DrakeError, match=r"stored, which is quantised \(bitsandbytes\), needs a CUDA GPU"):
        backbones.load(stored)
    with pytest.raises(DrakeError, match=r"stored is quantised already \(bitsandbytes\); leave --load-in 8bit out"):
        backbones.load(stored, load_in="8bit", device="cuda")
    monkeypatch.setattr(quantising, "find_spec", lambda name: None)
    with pytest.raises(DrakeError, match=r"needs the package bitsandbytes; install it: pip install drake-bench\[quant"):
        backbones.load(stored)


class Asked(Exception):
    """Carries what `from_pretrained` was called with."""


def asked_of_transformers(monkeypatch, *arguments, **options):
    def from_pretrained(_, **found):
        calls.append(found)
        raise Asked

    calls = []
    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", from_pretrained)
    with pytest.raises(DrakeError, match="cannot be loaded"):
        backbones.load(*arguments, **options)
    return calls[0]


def test_4_bits_are_normal_floats_computed_in_the_dtype_of_the_run(folder, with_package, monkeypatch):
    found = asked_of_transformers(monkeypatch, folder, load_in="4bit", device="cuda", dtype=torch.bfloat16)
    config = found["quantization_config"]
    assert (config.load_in_4bit, config.load_in_8bit) == (True, False)
    assert (config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant) == ("nf4", True)
    assert config.bnb_4bit_compute_dtype == torch.bfloat16
    assert config.llm_int8_skip_modules == ["lm_head", "vision_model", "connector"]
    assert found["device_map"] == {"": torch.device("cuda")}


def test_8_bits_leave_tower_projector_and_head_as_they_are(folder, with_package, monkeypatch):
    found = asked_of_transformers(monkeypatch, folder, load_in="8bit", device="cuda")
    config = found["quantization_config"]
    assert (config.load_in_4bit, config.load_in_8bit) == (False, True)
    assert config.llm_int8_skip_modules == ["lm_head", "vision_model", "connector"]


def test_a_quantised_checkpoint_is_read_as_it_is(stored, with_package, monkeypatch):
    found = asked_of_transformers(monkeypatch, stored, device="cuda")
    assert "quantization_config" not in found
    assert found["device_map"] == {"": torch.device("cuda")}


def test_the_setting_is_part_of_a_run_and_of_its_track(monkeypatch, micro_data, micro_backbones):
    from drake_leaderboard.entries import _digest

    settings = {"models": [micro_backbones["llama-4"]], "data": micro_data, "device": "cpu"}
    usual = Setup(configure("sft", "quick", **settings))
    plain = backbones.load
    monkeypatch.setattr(backbones, "load", lambda *names, **options: plain(*names, **options | {"load_in": "full"}))
    changed = Setup(configure("sft", "quick", load_in="4bit", **settings))
    identities = [one.identity() for one in (usual, changed)]
    assert "load_in" not in identities[0]
    assert identities[1]["load_in"] == "4bit"
    assert _digest(identities[0]) != _digest(identities[1])
    assert _digest(identities[0]) == _digest(identities[0] | {"load_in": "full"})
