"""What published LLaVA checkpoints do differently and is read rightly: heads, towers, rope, padding, EOS, templates."""

import io
import json
import shutil

import official_replica
import pytest
import torch
from official_replica import oblong, question, write_replica
from PIL import Image
from safetensors.torch import load_file, save_file

from drake.models.backbones import answer_logits, load
from drake.scoring.generation import generate

RECORDS = [
    {"id": "one", "images": [oblong("left", "red")], "prompt": f"<image>\n{question('left')}", "answer": "red"},
    {"id": "two", "images": [oblong("left", "red"), oblong("top", "blue")], "answer": "blue",
     "prompt": f"<image>\n{question('left')} and <image>\n{question('top')}"},
]  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write_replica("llama1b", tmp_path_factory.mktemp("layouts") / "llama1b", layers=2)


@pytest.fixture
def folder(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "llava")


def read(path):
    return json.loads(path.read_text())


def write(path, content):
    path.write_text(json.dumps(content))


def change(path, *removed, **values):
    content = {key: value for key, value in read(path).items() if key not in removed} | values
    write(path, content)


@torch.no_grad()
def logits(folder, records=RECORDS):
    backbone = load(folder)
    return answer_logits(backbone.model, backbone.batch(records, answers=True))[0]


def test_llamas_rope_scaling_is_obeyed(folder, sound):
    stored = read(sound / "config.json")["text_config"]
    found = load(sound).model.config.text_config.rope_parameters
    assert found == stored["rope_scaling"] | {"rope_theta": stored["rope_theta"]}
    config = read(folder / "config.json")
    config["text_config"]["rope_scaling"] = None
    write(folder / "config.json", config)
    assert (logits(folder) - logits(sound)).abs().max() > 1e-4


def test_weights_in_bfloat16_are_read_in_the_dtype_of_the_run(sound):
    for dtype in (torch.float32, torch.bfloat16):
        assert {parameter.dtype for parameter in load(sound, dtype=dtype).model.parameters()} == {dtype}


def test_a_head_of_its_own_is_used_and_a_tied_one_is_the_embeddings(folder, sound):
    model = load(sound).model
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert len(model.lm_head.weight) % 64 == 0
    config = read(folder / "config.json")
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = False
    write(folder / "config.json", config)
    index = read(folder / "model.safetensors.index.json")
    file = next(name for key, name in index["weight_map"].items() if "embed_tokens" in key)
    tensors = load_file(folder / file)
    tensors["language_model.lm_head.weight"] = 2 * tensors["language_model.model.embed_tokens.weight"]
    save_file(tensors, folder / file, {"format": "pt"})
    index["weight_map"]["language_model.lm_head.weight"] = file
    write(folder / "model.safetensors.index.json", index)
    torch.testing.assert_close(logits(folder), 2 * logits(sound), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tower", ["clip", "siglip"])
@pytest.mark.parametrize("strategy", ["default", "full"])
def test_towers_of_both_kinds_and_strategies_give_the_features_of_stock_transformers(folder, tower, strategy):
    config = read(folder / "config.json")
    config["vision_feature_select_strategy"] = strategy
    if tower == "siglip":
        config["vision_config"] |= {"model_type": "siglip_vision_model", "vision_use_head": False}
        change(folder / "preprocessor_config.json", "crop_size", "do_center_crop", size={"height": 28, "width": 28},
               image_processor_type="SiglipImageProcessor")  # fmt: skip
    write(folder / "config.json", config)
    official_replica._weights(config, folder)
    change(folder / "processor_config.json", vision_feature_select_strategy=strategy)
    backbone = load(folder)
    # 2 x 2 patches, and CLIP's class token in the first place, which "default" leaves out; SigLIP has none.
    tokens = 4 + (tower == "clip") - (strategy == "default")
    picture = Image.new("RGB", (28, 28), (200, 30, 30))
    assert backbone.encoder.alone(picture).shape == (tokens, backbone.hidden_size)
    batch = backbone.batch(RECORDS[1:], answers=False)
    pixels = backbone.processor.image_processor(
        [Image.open(io.BytesIO(one)) for one in RECORDS[1]["images"]], return_tensors="pt"
    )["pixel_values"]
    with torch.no_grad():
        theirs = backbone.model(input_ids=batch.input_ids, pixel_values=pixels).logits
        ours = backbone.model(**batch.inputs).logits
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_a_processor_that_does_not_know_the_patch_size_is_enough(folder, sound):
    change(folder / "processor_config.json", "patch_size", "num_additional_image_tokens")
    assert torch.equal(logits(folder), logits(sound))


@pytest.mark.parametrize("kept", ["tokenizer_config.json", "chat_template.json"])
def test_the_template_may_lie_in_either_place(folder, sound, kept):
    if kept == "chat_template.json":
        change(folder / "tokenizer_config.json", "chat_template")
    else:
        (folder / "chat_template.json").unlink()
    assert torch.equal(logits(folder), logits(sound))


def test_a_padding_token_that_is_missing_or_the_end_of_text_changes_nothing(folder, sound):
    assert load(sound).tokenizer.pad_token is None
    end = read(folder / "tokenizer_config.json")["eos_token"]
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        change(folder / file, pad_token=end)
    backbone = load(folder)
    assert backbone.pad_id == backbone.tokenizer.eos_token_id
    assert torch.equal(logits(folder), logits(sound))
    together = generate(backbone.model, backbone.batch(RECORDS, answers=False), backbone.stop_ids, 4)
    alone = [generate(backbone.model, backbone.batch([one], answers=False), backbone.stop_ids, 4)[0] for one in RECORDS]
    assert together == alone


def test_answers_are_greedy_though_sampling_is_on_and_each_of_several_ends_stops(folder):
    assert read(folder / "generation_config.json")["do_sample"] is True
    backbone = load(folder)
    batch = backbone.batch(RECORDS[:1], answers=False)
    free = generate(backbone.model, batch, [], 4)[0]
    assert free == generate(backbone.model, batch, [], 4)[0]
    with torch.no_grad():
        assert free[0] == backbone.model(**batch.inputs).logits[0, -1].argmax()
    change(folder / "generation_config.json", eos_token_id=[backbone.tokenizer.eos_token_id, free[0]])
    ended = load(folder)
    assert {*backbone.tokenizer.all_special_ids, free[0]} >= set(ended.stop_ids) >= {free[0]}
    assert generate(ended.model, ended.batch(RECORDS[:1], answers=False), ended.stop_ids, 4) == [[]]
