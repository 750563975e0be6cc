"""Checkpoints that are damaged, incomplete, of another kind or do not fit together: one sentence at load, for each."""

import json
import os
import shutil
import warnings

import pytest
import torch
from official_replica import LLAMA_TEMPLATE, write_replica
from safetensors.torch import load_file, save_file

from drake.errors import DrakeError
from drake.models import backbones, checkpoint_files, checkpoints
from drake.models.backbones import load

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1\nsize 12\n"
SHARD = "model-00002-of-00003.safetensors"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write_replica("llama1b", tmp_path_factory.mktemp("sound") / "llama1b")


@pytest.fixture
def folder(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "llava")


def change(path, *removed, **values):
    """Set and remove top-level keys of a JSON file."""
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in content.items() if key not in removed}))


def change_part(folder, part, *removed, **values):
    """The same in a part of config.json."""
    content = json.loads((folder / "config.json").read_text())[part] | values
    change(folder / "config.json", **{part: {key: value for key, value in content.items() if key not in removed}})


def change_weights(folder, change_one):
    """Rewrite every shard; change_one: (name, tensor) -> (name, tensor) or None to leave it out."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    weight_map = {}
    for file in sorted(set(index["weight_map"].values())):
        changed = [change_one(*item) for item in load_file(folder / file).items()]
        tensors = dict(filter(None, changed))
        save_file(tensors, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(tensors, file)
    change(folder / "model.safetensors.index.json", weight_map=weight_map)


def refusal(folder) -> str:
    """The sentence that loading ends with."""
    with pytest.raises(DrakeError) as caught:
        load(folder)
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert len(text) < 600
    return text


def test_the_replica_itself_is_sound(folder):
    assert (load(folder).family, load(folder).num_layers) == ("llama", 4)


@pytest.mark.parametrize("part", ["multi_modal_projector", "language_model.model.layers.2.", "vision_tower", "norm"])
def test_missing_weights_are_named(folder, part):
    change_weights(folder, lambda name, tensor: None if part in name else (name, tensor))
    assert "lacks weights of the model: " in (text := refusal(folder))
    assert part.split(".")[-1] in text.replace("language_model.layers.2.", part)
    assert "restore them" in text


def test_a_missing_head_is_named_where_it_is_not_tied(folder):
    change_part(folder, "text_config", tie_word_embeddings=False)
    change(folder / "config.json", tie_word_embeddings=False)
    assert "lacks weights of the model: lm_head.weight; restore them." in refusal(folder)


def test_weights_under_the_names_of_an_adapter_are_named(folder):
    change_weights(folder, lambda name, tensor: (f"base_model.model.{name}", tensor))
    text = refusal(folder)
    assert "lacks weights of the model" in text
    assert "but has base_model.model." in text


def test_weights_without_a_place_are_named(folder):
    change_part(folder, "text_config", num_hidden_layers=3)  # the model would answer without its last layer
    assert "weights that its config.json has no place for: " in (text := refusal(folder))
    assert "layers.3." in text


def test_constants_that_older_versions_stored_are_no_fault(folder):
    tensors = load_file(folder / SHARD)
    tensors["language_model.model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    tensors["vision_tower.vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    save_file(tensors, folder / SHARD, {"format": "pt"})
    assert load(folder).num_layers == 4


def test_weights_of_another_shape_are_named(folder):
    change_part(folder, "text_config", intermediate_size=48)
    text = refusal(folder)
    assert "weights of other shapes than its config.json describes: model.language_model.layers.0.mlp" in text
    assert "48" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "name", ["layers.1.mlp.up_proj.weight", "projector.linear_2.bias", "embeddings.class_embedding"]
)
def test_weights_that_are_no_numbers_are_refused(folder, name, value):
    def spoil(full, tensor):
        if full.endswith(name):
            tensor.view(-1)[-1] = value
        return full, tensor

    change_weights(folder, spoil)
    assert "has weights that are not finite numbers, the first in " in (text := refusal(folder))
    assert name.rpartition("embeddings.")[2] in text


def test_a_pointer_of_git_lfs_is_named(folder):
    for file in (SHARD, "tokenizer.json", "config.json"):
        content = (folder / file).read_bytes()
        (folder / file).write_text(POINTER)
        assert refusal(folder) == (
            f"{folder / file} is a pointer of Git LFS, not the file itself; run `git lfs pull` in its folder."
        )
        (folder / file).write_bytes(content)


@pytest.mark.parametrize("size", [0, 7, 100, -1])
def test_a_truncated_file_of_weights_is_named(folder, size):
    content = (folder / SHARD).read_bytes()
    (folder / SHARD).write_bytes(content[:size])
    assert f"{folder / SHARD} is damaged or not complete (" in refusal(folder)


def test_a_missing_file_of_weights_is_named(folder):
    (folder / SHARD).unlink()
    assert refusal(folder) == (
        f"{folder} lacks 1 of its 3 files of weights, the first {SHARD}; fetch the checkpoint again."
    )


def test_weights_without_an_index_are_refused(folder):
    (folder / "model.safetensors.index.json").unlink()
    assert "has neither model.safetensors nor model.safetensors.index.json" in refusal(folder)


def test_a_vocabulary_that_does_not_fit_is_refused(folder):
    def cut(name, tensor):
        return (name, tensor[:64].clone()) if name.endswith("embed_tokens.weight") else (name, tensor)

    change_weights(folder, cut)
    change_part(folder, "text_config", vocab_size=64)
    text = refusal(folder)
    assert "has ids up to" in text
    assert "embeddings for 64 tokens; copy the tokenizer that belongs to the model" in text


def test_a_picture_token_beyond_the_embeddings_is_no_fault(folder):
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary, image = tokenizer["model"]["vocab"], 5000
    vocabulary["<unused>"] = vocabulary.pop("<image>")
    for token in tokenizer["added_tokens"]:
        token["id"] = image if token["content"] == "<image>" else token["id"]
    vocabulary["<image>"] = image
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    backbone = load(folder)
    assert backbone.chat.image_token_id == image > len(backbone.model.get_input_embeddings().weight)


def test_a_picture_size_that_the_tower_refuses_is_found_at_load(folder):
    change(folder / "preprocessor_config.json", crop_size={"height": 42, "width": 42}, size={"shortest_edge": 42})
    text = refusal(folder)
    assert "cannot encode a picture: its processor, vision tower and projector do not fit one another (" in text
    assert "42" in text


def test_a_processor_that_keeps_the_shape_of_pictures_is_found_at_load(folder):
    change(folder / "preprocessor_config.json", do_center_crop=False)
    assert "cannot encode a picture" in refusal(folder)


def test_a_projector_for_another_width_is_found_at_load(folder):
    change(folder / "config.json", vision_feature_layer=[-2, -1])  # which the projector has no weights for
    assert "other shapes" in refusal(folder)
    change(folder / "config.json", vision_feature_layer=7)
    assert "cannot encode a picture" in refusal(folder)


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        (("tokenizer.json",), "has no tokenizer (tokenizer.json); copy it from the model it was made of."),
        (("preprocessor_config.json",), "does not say how pictures are prepared (preprocessor_config.json); copy"),
        (("preprocessor_config.json", "processor_config.json"), "does not say how pictures are prepared"),
        (("config.json",), "holds no checkpoint of a vision-language model: it needs a config.json of one of"),
    ],
)
def test_a_missing_file_is_named(folder, missing, sentence):
    for file in missing:
        (folder / file).unlink()
    assert f"{folder} {sentence}" in refusal(folder)


def test_a_folder_without_any_template_says_what_to_add(folder):
    (folder / "chat_template.json").unlink()
    change(folder / "tokenizer_config.json", "chat_template")
    assert "has no chat template; add a chat_template.jinja to its folder." in refusal(folder)


@pytest.mark.parametrize("part", ["vision_config", "text_config"])
def test_a_config_without_a_tower_or_language_model_says_so(folder, part):
    change(folder / "config.json", **{part: None})
    assert f"config.json describes no {'vision tower' if part == 'vision_config' else 'language model'}" in refusal(
        folder
    )


@pytest.mark.parametrize("where", ["config.json", "text_config"])
@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_quantised_weights_are_refused_whatever_is_installed(folder, where, method):
    quantised = {"quant_method": method, "load_in_4bit": True, "bits": 4}
    if where == "config.json":
        change(folder / "config.json", quantization_config=quantised)
    else:
        change_part(folder, where, quantization_config=quantised)
    assert (
        f"{folder} is quantised ({method}), which cannot be trained here; name the checkpoint it was made of"
        in refusal(folder)
    )


def test_a_tokenizer_without_a_token_for_pictures_is_blamed_itself(folder):
    tokenizer = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(tokenizer.replace('"<image>"', '"<picture>"'))
    assert f"the tokenizer of {folder} has no token <image>, so it cannot say where a picture stands" in refusal(folder)


@pytest.mark.parametrize(
    "content",
    [
        {"model_type": "llava_next", "architectures": ["LlavaNextForConditionalGeneration"], "vision_config": {},
         "reason": "whose way of reading pictures is not known here"},
        {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "reason": "which has no vision tower"},
        {"model_type": "florence2", "architectures": ["Florence2ForConditionalGeneration"], "vision_config": {},
         "is_encoder_decoder": True, "reason": "which is an encoder-decoder, while adapters and loss here are those"},
        {"model_type": "gemma3n", "architectures": ["Gemma3nForConditionalGeneration"], "vision_config": {},
         "audio_config": {}, "reason": "which reads sound, and records hold pictures and text"},
    ],
)  # fmt: skip
def test_another_architecture_is_named_with_the_reason(folder, content):
    (folder / "config.json").write_text(json.dumps(content))
    named = f"holds a model of type {content['model_type']!r} ({content['architectures'][0]}), {content['reason']}"
    assert named in (text := refusal(folder))
    assert text.endswith(
        "; supported are llava, llava_onevision, qwen2_vl, qwen2_5_vl, qwen3_vl, idefics3, smolvlm, gemma3."
    )
    with pytest.raises(DrakeError, match=r"a model of type"):
        backbones.outline(folder)


def test_another_language_model_is_named(folder):
    change_part(folder, "text_config", model_type="mistral")
    assert "the language model is of type 'mistral'; supported are llama, qwen2, qwen3, " in refusal(folder)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "preprocessor_config.json"])
def test_a_byte_order_mark_is_named(folder, file):
    (folder / file).write_text((folder / file).read_text(), encoding="utf-8-sig")
    text = refusal(folder)
    assert text == f"{folder / file} begins with a byte order mark (BOM), which JSON has not; save it without one."


@pytest.mark.parametrize(
    "file",
    ["config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json",
     "preprocessor_config.json", "processor_config.json", "chat_template.json", "tokenizer.json",
     "model.safetensors.index.json"],
)  # fmt: skip
@pytest.mark.parametrize("content", ["{", "[]", "\x00\x01"])
def test_a_damaged_file_is_one_sentence(folder, file, content):
    (folder / file).write_text(content)
    assert file in (text := refusal(folder)) or "tokenizer and picture processor" in text


@pytest.mark.parametrize(
    "values",
    [
        {"hidden_act": "nothing"},
        {"rope_scaling": {"rope_type": "nothing", "factor": 2.0}},
        {"num_attention_heads": 3},
        {"hidden_size": "wide"},
        {"num_hidden_layers": -1},
    ],
)
def test_values_that_no_model_can_have_are_one_sentence(folder, values):
    change_part(folder, "text_config", **values)
    assert str(folder) in refusal(folder)


def test_everything_that_is_loaded_is_in_the_revision(folder):
    seen = {load(folder).revision}

    def assert_new():
        seen.add(load(folder).revision)
        assert len(seen) == 1 + assert_new.calls
        assert load(folder).revision in seen

    changes = {
        "tokenizer_config.json": {"model_max_length": 7},
        "special_tokens_map.json": {"pad_token": "<|end_header_id|>"},
        "generation_config.json": {"eos_token_id": [3, 5]},
        "preprocessor_config.json": {"image_mean": [0.5, 0.5, 0.5]},
        "processor_config.json": {"vision_feature_select_strategy": "full"},
        "config.json": {"vision_feature_select_strategy": "full"},
        "chat_template.json": {"chat_template": "{{ bos_token }}" + LLAMA_TEMPLATE},
    }
    for number, (file, values) in enumerate(changes.items(), 1):
        assert_new.calls = number
        change(folder / file, **values)
        assert_new()
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:-1]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert_new.calls += 1
    assert_new()
    (folder / SHARD).rename(folder / "model-00004-of-00003.safetensors")  # another name, the same weights
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace(SHARD, "model-00004-of-00003.safetensors"))
    assert_new.calls += 1
    assert_new()


def test_what_is_not_loaded_is_not_in_the_revision(folder):
    before = load(folder).revision
    (folder / "README.md").write_text("words")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "runs").mkdir()
    (folder / "runs/config.json").write_text("{}")
    assert load(folder).revision == before


def test_the_revision_of_an_embedded_backbone_is_that_of_its_weights():
    """Runs of earlier versions name it, and draw from it."""
    for name in checkpoints.embedded():
        revision = checkpoint_files.hash_of_weights(checkpoints.WEIGHTS_FOLDER / name)
        assert load(name).revision == revision


def test_a_pipe_in_place_of_a_file_does_not_hang(folder):
    (folder / "generation_config.json").unlink()
    os.mkfifo(folder / "generation_config.json")
    assert "is no file" in refusal(folder)


def test_a_record_longer_than_the_model_was_made_for_is_warned_of_once(folder):
    change_part(folder, "text_config", max_position_embeddings=90, rope_scaling=None)
    backbone = load(folder)
    record = {"id": "a/test/000001", "images": [], "prompt": 20 * "red blue ", "choices": [], "answer": "red"}
    with pytest.warns(UserWarning, match=r"'a/test/000001' is \d+ tokens long for .* at most 90 \(max_position_emb"):
        backbone.batch([record], answers=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        backbone.batch([record | {"id": "b"}], answers=False)
        load(folder).batch([record | {"prompt": "red"}], answers=True)
    with pytest.warns(UserWarning, match="max_position_embeddings"):
        load(folder).prompt_length(record)
