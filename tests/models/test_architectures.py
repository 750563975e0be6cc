"""Today's architectures beside LLaVA: read as stock transformers reads them, trained, answered, aligned, exported."""

import io
import json
import random

import pytest
import torch
from click.testing import CliRunner
from drake_methods.input_gate import Reading
from drake_methods.rela import last_layer_gradient
from peft import PeftModel
from PIL import Image
from transformers import AutoModelForImageTextToText
from vision_language import LAYERS, NAMES, write_checkpoint

from drake.cli.main import drake
from drake.config import preset
from drake.data.building import build
from drake.data.pictures import decoded
from drake.errors import DrakeError
from drake.federation import adapters
from drake.models import backbones, checkpoints
from drake.models.layouts import LAYOUTS, decoder_of
from drake.results import load as load_results
from drake.scoring.generation import generate
from drake.tools.export import export

FAMILIES = {"smolvlm": "llama", "smolvlm2": "llama", "gemma3": "gemma"}


def png(seed: int, width: int, height: int) -> bytes:
    """Coloured squares of 7 pixels."""
    small = Image.frombytes("RGB", (width // 7, height // 7), random.Random(seed).randbytes(3 * width * height // 49))
    buffer = io.BytesIO()
    small.resize((width, height), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


TWO = {"id": "two", "images": [png(1, 70, 42), png(2, 42, 70)], "answer": "the first", "choices": [],
       "prompt": "Look: <image> and <image>\nWhich picture is it? "}  # fmt: skip
ONE = {"id": "one", "images": [png(3, 84, 35)], "answer": "red", "choices": [],
       "prompt": "<image>\nWhat is in the picture?"}  # fmt: skip
NONE = {"id": "none", "images": [], "answer": "blue", "choices": [], "prompt": "Which colour is it?"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("architectures")
    return {name: write_checkpoint(name, root / name) for name in NAMES}


@pytest.fixture(scope="module")
def loaded(folders):
    return {name: backbones.load(folder) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(build("vision_language:Pairs", "dynamic", tmp_path_factory.mktemp("data") / "pairs", workers=1))


def stock(backbone, record):
    """What the checkpoint's own processor makes of the record's prompt and pictures."""
    text = backbone.chat._render(backbone.chat.messages(record), add_generation_prompt=True)
    written = bool(backbone.tokenizer.bos_token) and text.startswith(backbone.tokenizer.bos_token)
    pictures = {"images": [[decoded(image) for image in record["images"]]]} if record["images"] else {}
    return backbone.processor(text=[text], **pictures, return_tensors="pt", add_special_tokens=not written)


def run(*arguments) -> str:
    result = CliRunner().invoke(drake, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_tables_of_architectures_name_the_same_ones():
    from drake.models.checkpoint_files import FAMILIES as OF_TEXT
    from drake.models.checkpoint_files import LANGUAGE_MODELS

    assert list(LAYOUTS) == list(LANGUAGE_MODELS)
    assert set(LANGUAGE_MODELS.values()) <= set(OF_TEXT)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("record", [TWO, ONE, NONE], ids=lambda record: record["id"])
@torch.no_grad()
def test_a_batch_is_what_the_own_processor_makes_and_its_logits_are_those_of_stock_transformers(loaded, name, record):
    backbone = loaded[name]
    expected, found = stock(backbone, record), backbone.batch([record], answers=False)
    assert torch.equal(found.input_ids, expected["input_ids"])
    assert backbone.prompt_length(record) == expected["input_ids"].shape[1]
    ours, theirs = backbone.model(**found.inputs).logits, backbone.model(**expected).logits
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_answers_in_a_padded_batch_are_those_of_stock_generation(loaded, name):
    backbone, records = loaded[name], [TWO, ONE, NONE]
    found = generate(backbone.model, backbone.batch(records, answers=False), backbone.stop_ids, 5)
    for record, ids in zip(records, found, strict=True):
        inputs = stock(backbone, record)
        whole = backbone.model.generate(
            **inputs, max_new_tokens=5, do_sample=False, eos_token_id=backbone.stop_ids, pad_token_id=backbone.pad_id
        )
        expected = [id_ for id_ in whole[0, inputs["input_ids"].shape[1] :].tolist() if id_ not in backbone.stop_ids]
        assert ids == expected


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_training_logits_do_not_depend_on_padding_and_pictures_count(loaded, name):
    backbone = loaded[name]
    together, _ = backbones.answer_logits(backbone.model, backbone.batch([TWO, ONE, NONE], answers=True))
    alone = [
        backbones.answer_logits(backbone.model, backbone.batch([one], answers=True))[0] for one in (TWO, ONE, NONE)
    ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)
    swapped = TWO | {"images": TWO["images"][::-1]}
    other, _ = backbones.answer_logits(backbone.model, backbone.batch([swapped], answers=True))
    assert (other - alone[0]).abs().max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_ends_with_the_end_of_a_turn(loaded, name):
    backbone = loaded[name]
    ends = {"smolvlm": "<end_of_utterance>", "smolvlm2": "<end_of_utterance>", "gemma3": "<end_of_turn>"}
    end = backbone.tokenizer.convert_tokens_to_ids(ends.get(name, "<|im_end|>"))
    batch = backbone.batch([ONE], answers=True)
    assert batch.labels[0, -1] == batch.input_ids[0, -1] == backbone.chat.end_of_turn == end
    assert end in backbone.stop_ids


@pytest.mark.parametrize("name", NAMES)
def test_adapters_are_on_the_language_models_linear_layers_alone(folders, name):
    backbone = backbones.load(folders[name])
    adapters.add(backbone.model, ["local"], preset("quick").training)
    of_decoder = {module for module in decoder_of(backbone.model).modules() if hasattr(module, "lora_A")}
    everywhere = {module for module in backbone.model.modules() if hasattr(module, "lora_A")}
    assert of_decoder == everywhere
    assert len(everywhere) == 7 * LAYERS[name]
    assert (backbone.num_layers, backbone.family) == (LAYERS[name], FAMILIES.get(name, "qwen"))
    assert checkpoints.architecture(folders[name]) == (backbone.family, LAYERS[name])
    parts = {backbone.layout.decoder, *backbone.layout.towers}
    assert {part for part, _ in backbone.model.model.named_children()} == parts
    assert {int(place.split(".")[0]) for place in adapters.layers(backbone.model)} == set(range(LAYERS[name]))
    outline = backbones.outline(folders[name])
    adapters.add(outline.model, ["local"], preset("quick").training)
    shapes = [{n: t.shape for n, t in adapters.tensors(one.model, "local").items()} for one in (backbone, outline)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", ["onevision", "smolvlm", "gemma3"])
def test_the_relevance_gradient_is_autograds(folders, name):
    backbone = backbones.load(folders[name], dtype=torch.float64)
    if name == "gemma3":  # its norms begin at one
        for norm in (backbone.decoder.norm, backbone.decoder.layers[-1].post_feedforward_layernorm):
            norm.weight.data = torch.linspace(-0.5, 0.5, len(norm.weight), dtype=torch.float64)
    batch = backbone.batch([TWO, ONE], answers=True)
    weight = backbone.decoder.layers[-1].mlp.down_proj.weight.requires_grad_(True)
    logits, targets = backbones.answer_logits(backbone.model, batch)
    torch.nn.functional.cross_entropy(logits, targets).backward()
    found = last_layer_gradient(backbone.model, batch)
    assert (found - weight.grad).norm() / weight.grad.norm() < 1e-5  # the model's norms pass through float32


def test_input_gates_are_told_of_padding_whatever_masks_the_language_model_gets(loaded):
    backbone, reading = loaded["gemma3"], Reading()  # which is given a mask for each kind of layer
    handles = len(backbone.model.model._forward_pre_hooks)
    reading.watch(backbone.model.model)
    batch = backbone.batch([TWO, NONE], answers=False)
    backbone.model(**batch.inputs, use_cache=True)
    assert torch.equal(reading.real, batch.inputs["attention_mask"].bool())
    assert not reading.real.all()
    assert reading.begins
    assert len(backbone.model.model._forward_pre_hooks) == handles + 1
    backbone.model.model._forward_pre_hooks.clear()
    backbone.model.model._forward_pre_hooks_with_kwargs.clear()


@pytest.mark.parametrize("name", NAMES)
def test_each_picture_is_encoded_once_and_kept_on_disk(folders, tmp_path, monkeypatch, name):
    options = {"feature_folder": tmp_path, "feature_bytes": 10**9}
    first = backbones.load(folders[name], **options)
    batch = first.batch([TWO, ONE, TWO], answers=True)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3
    again = backbones.load(folders[name], **options)
    monkeypatch.setattr(again.encoder, "_encode", None)
    kept = again.batch([TWO, ONE, TWO], answers=True)
    assert torch.equal(kept.input_ids, batch.input_ids)
    with torch.no_grad():
        ours, theirs = (backbones.answer_logits(one.model, made)[0] for one, made in ((first, batch), (again, kept)))
    assert torch.equal(ours, theirs)


def test_onevision_reads_a_picture_alone_in_tiles_and_one_of_several_as_one(loaded):
    backbone, picture = loaded["onevision"], ONE["images"][0]
    alone, among = backbone.features([picture])[0], backbone.features([picture], several=True)[0]
    # 84 x 35 pixels become two tiles of 2 x 2 patches, whose upper and lower rows are padding of which none is cut off,
    # each row ending with a newline, after the 4 of the whole picture; one of several is 4 and a newline.
    assert (len(alone), len(among)) == (4 + 2 * (4 + 1), 4 + 1)
    assert torch.equal(backbone.features([picture])[0], alone)


def test_padding_flags_of_other_architectures_do_not_make_squares(loaded, folders):
    assert {backbone.pad_colour for backbone in loaded.values()} == {None}  # though "do_pad" is set for two of them
    padded = backbones.load(folders["qwen2.5-vl"], pictures="pad")
    assert padded.pad_colour == (127, 127, 127)
    assert len(padded.features(ONE["images"])[0]) != len(loaded["qwen2.5-vl"].features(ONE["images"])[0])


CUT = ["--preset", "quick", "--rounds", "1", "--steps", "2", "--rank", "4", "--eval-records", "1", "--device", "cpu",
       "--engine", "serial", "--set", "evaluation.max_new_tokens=3", "--set", "training.micro_batch=2",
       "--set", "training.accumulation=1"]  # fmt: skip


def test_one_federation_of_all_of_them_and_a_client_exported_to_stock_peft(folders, data, tmp_path):
    named = [str(folders[name]) for name in ("onevision", "qwen2.5-vl", "qwen3-vl", "smolvlm", "gemma3")]
    run("eval", "--method", "sft", "--models", ",".join(named), "--clients", len(named), "--data", data, "--out",
        tmp_path / "run", *CUT)  # fmt: skip
    found = load_results(tmp_path / "run")
    assert found.status == "complete"
    assert sorted(found.models.per_client) == sorted(named)
    assert all(0 < loss < 20 for losses in found.runs[0].train_loss for loss in losses)
    for name in ("smolvlm", "qwen3-vl"):
        client = found.models.per_client.index(str(folders[name]))
        export(tmp_path / "run", client, tmp_path / name)
        bare = AutoModelForImageTextToText.from_pretrained(folders[name], attn_implementation="sdpa")
        backbone = backbones.load(folders[name])
        inputs = stock(backbone, TWO)
        with torch.no_grad():
            before = bare(**inputs).logits
            tuned = PeftModel.from_pretrained(bare, tmp_path / name).eval()
            after = tuned(**inputs).logits
        assert (after - before).abs().max() > 1e-6
        merged = tmp_path / f"{name}-whole"
        export(tmp_path / "run", client, merged, merge=True)
        whole = backbones.load(merged)
        with torch.no_grad():
            logits = whole.model(**whole.batch([TWO], answers=False).inputs).logits
        torch.testing.assert_close(logits, after, atol=1e-5, rtol=0)


def test_fedmosaic_aligns_and_trains_across_three_architectures(folders, data, tmp_path, monkeypatch):
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path / "cache"))
    models = [str(folders[name]) for name in ("qwen3-vl", "smolvlm", "gemma3")]
    run("eval", "--method", "fedmosaic", "--models", ",".join(models), "--clients", 3, "--data", data, "--out",
        tmp_path / "run", *CUT)  # fmt: skip
    found = load_results(tmp_path / "run")
    assert found.status == "complete"
    assert sorted(found.models.per_client) == sorted(models)
    assert all(0 < loss < 20 for losses in found.runs[0].train_loss for loss in losses)
    relevance = torch.tensor(found.runs[0].relevance[-1])
    assert relevance.isfinite().all()
    assert len(list((tmp_path / "cache").glob("aligned-*.safetensors"))) == 2


@pytest.mark.parametrize("method", ["fedsim", "feddpa", "fedmkt"])
def test_methods_that_call_the_model_themselves_run(folders, data, tmp_path, method):
    models = ",".join(str(folders[name]) for name in ("qwen3-vl", "gemma3"))
    official = ["--set", "feddpa.preset=official"] if method == "feddpa" else []
    run("eval", "--method", method, "--models", models, "--data", data, "--out", tmp_path / "run", *CUT, *official)
    found = load_results(tmp_path / "run")
    assert found.status == "complete"
    assert all(0 < loss < 20 for losses in found.runs[0].train_loss for loss in losses)


def test_the_official_prompt_is_refused_where_there_is_none(folders):
    with pytest.raises(DrakeError, match=r"no official prompt for .*gemma3, a gemma; use --prompts stored"):
        backbones.load(folders["gemma3"], prompts="official")
    with pytest.raises(DrakeError, match=r"has no token <\|start_header_id\|>, which the official prompt"):
        backbones.load(folders["smolvlm"], prompts="official")


def test_a_processor_that_does_not_fit_is_found_at_load(folders, tmp_path):
    import shutil

    folder = shutil.copytree(folders["smolvlm"], tmp_path / "wrong")
    content = json.loads((folder / "config.json").read_text())
    content["vision_config"]["patch_size"] = 14
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(DrakeError, match="weights of other shapes than its config"):
        backbones.load(folder)
