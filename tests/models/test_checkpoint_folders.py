"""Weights in several files are the same weights; what a checkpoint folder must not bring is refused or not used."""

import json
import shutil

import pytest
import torch
from micro_checkpoint import RECORDS

from drake.errors import DrakeError
from drake.models import backbones
from drake.models.backbones import answer_logits, load


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def change(path, **values):
    """Set top-level keys of a JSON file, which need not be there yet."""
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | values))


def in_shards(folder):
    """Save the weights again as two files or more with an index."""
    model = load(folder).model
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    return folder / "model.safetensors.index.json"


def test_weights_in_shards_are_the_same_weights(copy, folder):
    in_shards(copy)
    one, other = load(folder).model.state_dict(), load(copy).model.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "name", ["../outside.safetensors", "{absolute}", "deeper/x.safetensors", "..", "pytorch_model.bin", "", 3]
)
def test_an_index_that_leads_out_of_the_folder_is_refused(copy, name):
    index = in_shards(copy)
    (shard, *_) = sorted(copy.glob("*.safetensors"))
    outside = shard.rename(copy.parent / "outside.safetensors")
    name = name.format(absolute=outside) if isinstance(name, str) else name
    content = json.loads(index.read_text())
    moved = {key: name if file == shard.name else file for key, file in content["weight_map"].items()}
    change(index, weight_map=moved)
    with pytest.raises(DrakeError) as caught:
        load(copy)
    sentence = f"{index} names the file {name!r}, which is not a *.safetensors file of its folder; restore it."
    assert str(caught.value) == sentence


@pytest.mark.parametrize("weight_map", [None, ["x.safetensors"], {"a": ["b"]}])
def test_an_index_of_another_shape_is_refused(copy, weight_map):
    change(copy / "model.safetensors.index.json", weight_map=weight_map)
    with pytest.raises(DrakeError, match=r"which is not a \*\.safetensors file of its folder"):
        load(copy)


def test_what_transformers_would_load_besides_the_weights_is_refused(copy):
    change(copy / "adapter_config.json", base_model_name_or_path="somebody/else", peft_type="LORA")
    with pytest.raises(DrakeError, match="holds a PEFT adapter"):
        load(copy)
    (copy / "adapter_config.json").unlink()
    change(copy / "config.json", transformers_weights="other.safetensors.index.json")
    with pytest.raises(DrakeError, match="redirects to other weights"):
        load(copy)


def test_the_attention_that_a_config_names_is_not_used(copy, folder):
    """A name such as somebody/kernel is code on the hub."""
    content = json.loads((copy / "config.json").read_text())
    for kernel in ("eager", "somebody/kernel"):
        for part in (content, content["text_config"], content["vision_config"]):
            part["attn_implementation"] = kernel
        change(copy / "config.json", **content)
        found, outline = load(copy), backbones.outline(copy)
        for model in (found.model, outline.model):
            parts = (model.config, model.config.text_config, model.config.vision_config)
            assert {part._attn_implementation for part in parts} == {"sdpa"}
        expected = load(folder)
        for record in RECORDS[:3]:
            ours, theirs = (made.batch([record], answers=True) for made in (found, expected))
            assert torch.equal(answer_logits(found.model, ours)[0], answer_logits(expected.model, theirs)[0])


def test_code_that_a_checkpoint_brings_is_not_imported(copy, monkeypatch):
    trace = copy / "it-ran"
    code = f"open({str(trace)!r}, 'w')\nclass Evil: pass\n"
    (copy / "evil.py").write_text(code)
    names = ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoProcessor", "AutoImageProcessor")
    auto_map = dict.fromkeys(names, "evil.Evil") | {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    for file in ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json"):
        change(copy / file, auto_map=auto_map)
    change(copy / "tokenizer_config.json", tokenizer_class="Evil")
    config = json.loads((copy / "config.json").read_text())
    for part in ("text_config", "vision_config"):
        config[part]["auto_map"] = auto_map
    change(copy / "config.json", **config)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("the user was asked"))
    load(copy).batch(RECORDS[:1], answers=True)
    assert not trace.exists()
