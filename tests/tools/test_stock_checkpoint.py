"""Checkpoints that `drake export --merge` writes: in the files and keys that transformers 4.47 looks for.

4.47 itself is not here. With 4.47.1 such checkpoints load without missing or unexpected keys and give the same logits.
"""

import json

import pytest
import torch
from official_replica import oblong, write_replica
from safetensors import safe_open
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from drake.models.backbones import load
from drake.models.images import pad_to_square
from drake.tools import stock_checkpoint


@pytest.fixture(scope="module", params=["llama1b", "qwen0.5b", "tiny-qwen-s"])
def written(request, tmp_path_factory):
    """(backbone, the folder it was written to): official replicas as the paper asks them, and an embedded one."""
    name, root = request.param, tmp_path_factory.mktemp("stock")
    official = not name.startswith("tiny")
    backbone = load(write_replica(name, root / "given"), prompts="official", pictures="pad") if official else load(name)
    folder = root / "written"
    folder.mkdir()
    stock_checkpoint.write(backbone.model, backbone.processor, folder, pad_pictures=official)
    return backbone, folder


def read(folder, file) -> dict:
    return json.loads((folder / file).read_text())


def test_weights_have_the_names_of_4_47(written):
    backbone, folder = written
    with safe_open(folder / "model.safetensors", "pt") as file:
        names = set(file.keys())
        assert file.metadata() == {"format": "pt"}
    layers = range(backbone.num_layers)
    assert {f"language_model.model.layers.{k}.self_attn.q_proj.weight" for k in layers} < names
    assert {"language_model.model.embed_tokens.weight", "multi_modal_projector.linear_1.weight"} < names
    assert "vision_tower.vision_model.embeddings.class_embedding" in names
    assert {name.split(".")[0] for name in names} == {"language_model", "vision_tower", "multi_modal_projector"}
    assert {".".join(name.split(".")[:2]) for name in names if name.startswith("vis")} == {"vision_tower.vision_model"}
    assert "language_model.lm_head.weight" not in names  # tied


def test_the_config_has_the_keys_of_4_47(written):
    backbone, folder = written
    config = read(folder, "config.json")
    text, ours = config["text_config"], backbone.model.config.text_config
    assert text["rope_theta"] == ours.rope_parameters["rope_theta"]
    scaled = ours.rope_parameters["rope_type"] != "default"
    assert scaled == (text["model_type"] == "llama")
    expected = {key: value for key, value in ours.rope_parameters.items() if key != "rope_theta"} if scaled else None
    assert text["rope_scaling"] == expected
    for part in (config, text, config["vision_config"]):
        assert part["torch_dtype"] == "float32"
        assert not {"dtype", "rope_parameters"} & part.keys()
    assert (config["tie_word_embeddings"], text["tie_word_embeddings"]) == (True, True)


def test_tokenizer_template_and_processor_have_the_files_of_4_47(written):
    backbone, folder = written
    tokenizer = read(folder, "tokenizer_config.json")
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert tokenizer["model_input_names"] == ["input_ids", "attention_mask"]
    assert not isinstance(tokenizer.get("extra_special_tokens"), list)
    template = backbone.processor.chat_template
    assert tokenizer["chat_template"] == template
    assert read(folder, "chat_template.json") == {"chat_template": template}
    assert not (folder / "chat_template.jinja").exists()
    assert "image_processor" not in read(folder, "processor_config.json")  # 4.47 takes it for an argument given twice
    pictures = read(folder, "preprocessor_config.json")
    assert pictures["image_mean"] == list(backbone.processor.image_processor.image_mean)
    if backbone.pad_colour is not None:
        # Without a name 4.47 takes CLIP's processor and later versions LLaVA's, which pads.
        assert ("image_processor_type" in pictures, pictures["do_pad"]) == (False, True)
        assert read(folder, "config.json")["image_aspect_ratio"] == "pad"
    else:
        assert pictures["image_processor_type"] == "CLIPImageProcessor"


@torch.no_grad()
def test_stock_transformers_5_reads_it_and_gives_the_same_logits(written):
    backbone, folder = written
    model, info = LlavaForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    processor = LlavaProcessor.from_pretrained(folder)
    record = {"id": "a", "images": [oblong("left", "red")], "prompt": "<image>\nWhich colour?", "answer": "red"}
    batch = backbone.batch([record], answers=False)
    ids = backbone.tokenizer.decode(batch.input_ids[0])
    assert processor.tokenizer(ids, add_special_tokens=False)["input_ids"] == batch.input_ids[0].tolist()
    from drake.data.pictures import decoded

    picture = decoded(record["images"][0])
    pixels = processor.image_processor([picture], return_tensors="pt")["pixel_values"]
    found = model(input_ids=batch.input_ids, pixel_values=pixels, attention_mask=batch.inputs["attention_mask"]).logits
    torch.testing.assert_close(found, backbone.model(**batch.inputs).logits, atol=1e-4, rtol=0)
    if backbone.pad_colour is not None:
        square = pad_to_square(picture, backbone.pad_colour)
        assert torch.equal(pixels, backbone.processor.image_processor([square], return_tensors="pt")["pixel_values"])


def test_drake_reads_it_as_the_same_backbone(written):
    backbone, folder = written
    again = load(folder)
    assert again.pad_colour == backbone.pad_colour
    assert again.stop_ids == backbone.stop_ids
    record = {"id": "a", "images": [oblong("left", "red")], "prompt": "<image>\nWhich colour?", "answer": "red"}
    ours, theirs = (made.batch([record], answers=True) for made in (backbone, again))
    assert torch.equal(ours.input_ids, theirs.input_ids)
    assert torch.equal(ours.inputs["inputs_embeds"], theirs.inputs["inputs_embeds"])


def test_a_large_checkpoint_is_written_in_files_with_an_index(written, tmp_path, monkeypatch):
    backbone, _ = written
    monkeypatch.setattr(stock_checkpoint, "LARGEST_FILE", "50KB")
    stock_checkpoint.write(backbone.model, backbone.processor, tmp_path, pad_pictures=False)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    one, other = load(tmp_path).model.state_dict(), backbone.model.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in other)
