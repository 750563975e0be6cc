"""Names of backbones: what is near, what is missing, what the Hub gives, and the shapes of the catalog."""

import json
import shutil

import pytest
import torch

from drake.errors import DrakeError, UnknownName
from drake.models import backbones, checkpoints
from drake.models.backbones import load


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(UnknownName, match="did you mean 'tiny-llama-s'"):
        load("tiny-lama-s")


def test_a_path_that_is_not_there_says_so(tmp_path):
    with pytest.raises(DrakeError, match=r"there is no folder.*\.$"):
        load(tmp_path / "nothing")


def test_a_folder_without_llava_says_what_is_missing(folder, tmp_path):
    with pytest.raises(DrakeError, match=r"holds no checkpoint of a vision-language model.*\.$"):
        load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(DrakeError, match=r"holds a config.json and no \*.safetensors.*\.$"):
        load(tmp_path)
    # Pickled weights are not read even where the configuration fits.
    shutil.copy(folder / "config.json", tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(DrakeError, match="safetensors"):
        load(tmp_path)


def test_a_hub_model_without_network_says_what_to_do(monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(*args, **kwargs):
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(DrakeError, match=r"thkim0305/llama3\.2_1B_vl is not in the local cache.*\.$"):
        load("llama1b")


def test_a_hub_model_carries_its_commit(folder, monkeypatch, tmp_path):
    snapshot = tmp_path / "0123456789abcdef"
    shutil.copytree(folder, snapshot)
    asked = {}

    def download(repo_id, revision, allow_patterns):
        asked.update(repo_id=repo_id, revision=revision, patterns=allow_patterns)
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    backbone = load("someone/llava", revision="v1")
    assert backbone.revision == "0123456789abcdef"
    assert (asked["repo_id"], asked["revision"]) == ("someone/llava", "v1")
    assert not any(pattern.endswith((".bin", ".py", ".pt")) for pattern in asked["patterns"])


def test_the_shape_of_a_hub_model_costs_one_small_file(folder, monkeypatch):
    asked = []

    def download(repo_id, revision, allow_patterns):
        asked.append((repo_id, revision, allow_patterns))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    family, layers = checkpoints.architecture("someone/llava", "v1")
    assert (family, layers) == (load(folder).family, load(folder).num_layers)
    assert asked == [("someone/llava", "v1", ["config.json"])]


PUBLISHED = {
    "llama1b": 1_235_814_400,
    "llama3b": 3_212_749_824,
    "llama8b": 8_030_261_248 - 128_256 * 4096,  # lm_head, which the others tie
    "qwen0.5b": 494_032_768,
    "qwen1.5b": 1_543_714_304,
    "qwen3b": 3_085_938_688,
}
"""Parameters of the language models as their makers count them."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_catalogs_shapes_have_as_many_parameters_as_published(name):
    outline = backbones.outline(name, dtype=torch.bfloat16)
    parameters = list(outline.model.model.language_model.parameters())
    assert sum(parameter.numel() for parameter in parameters) == PUBLISHED[name]
    assert {(parameter.device.type, parameter.dtype) for parameter in parameters} == {("meta", torch.bfloat16)}


def test_an_outline_of_a_folder_has_the_shapes_of_the_loaded_model(folder):
    shapes = lambda model: {name: tensor.shape for name, tensor in model.state_dict().items()}  # noqa: E731
    assert shapes(backbones.outline(folder).model) == shapes(load(folder).model)


def test_an_outline_of_nothing_says_so(tmp_path):
    with pytest.raises(UnknownName, match="llama1b"):
        backbones.outline("llama1c")
    with pytest.raises(DrakeError, match="holds no checkpoint of a vision-language model"):
        backbones.outline(tmp_path)


def test_embedded_names_are_the_catalogs():
    from drake import catalog

    known = {name for name, model in catalog.models().items() if model.embedded}
    assert set(checkpoints.embedded()) == known
