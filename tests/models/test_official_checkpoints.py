"""The official checkpoints, as replicas of random weights in their layout: prompts, padding, and the paper's preset."""

import io
import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from official_replica import COLOURS, LAYERS, oblong, question, write_replica
from PIL import Image

from drake import catalog
from drake.cli.main import drake
from drake.data.building import build
from drake.errors import DrakeError
from drake.models import backbones
from drake.models.images import LONGEST_SIDE, mean_colour, pad_to_square
from drake.models.loading import encoder_identity
from drake.models.templates import DATE
from drake.results import load as load_results

MEAN_COLOUR = (122, 116, 104)
RECORD = {
    "id": "Left-0/test/000000",
    "images": [oblong("left", "red")],
    "prompt": f"<image>\n{question('left')} ",
    "choices": list(COLOURS),
    "answer": "red",
}


@pytest.fixture(scope="module")
def replicas(tmp_path_factory):
    root = tmp_path_factory.mktemp("official")
    return {name: write_replica(name, root / name) for name in LAYERS}


@pytest.fixture
def hub(replicas, monkeypatch):
    """A hub that has the replicas in the places of the official checkpoints."""
    models = catalog.models()
    folders = {models[name].hub_id: folder for name, folder in replicas.items()}
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda hub_id, **_: str(folders[hub_id]))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(build("official_replica:Oblong", "dynamic", tmp_path_factory.mktemp("data") / "oblong", workers=1))


def written(backbone, record=RECORD) -> str:
    """The prompt as tokens, without the spaces that the small tokenizers add."""
    return "".join(backbone.tokenizer.convert_ids_to_tokens(backbone.chat.prompt_ids(record))).replace("Ġ", "")


def rendered(backbone, record=RECORD) -> str:
    return backbone.chat._render(backbone.chat.messages(record), add_generation_prompt=True)


USER = "<image>\n" + question("left")
LLAMA = f"<|start_header_id|>user<|end_header_id|>\n\n{USER}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
QWEN = f"<|im_start|>user\n{USER} <|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("name", ["llama1b", "thkim0305/llama3.2_3B_vl"])
def test_a_llama_of_the_paper_gets_the_official_prompt_whatever_template_it_stores(hub, name):
    backbone = backbones.load(name)
    assert rendered(backbone) == "<|begin_of_text|>" + LLAMA
    assert written(backbone).count("<|begin_of_text|>") == 1  # although template and tokenizer write it
    assert backbone.processor.chat_template == catalog.official_prompts()["llama3"]


def test_a_qwen_of_the_paper_gets_its_default_system_message(hub):
    system = "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    assert rendered(backbones.load("qwen0.5b")) == system + QWEN
    assert rendered(backbones.load("qwen0.5b", prompts="stored")) == QWEN


def test_any_other_checkpoint_keeps_its_own_template_unless_it_is_asked_officially(replicas):
    own = rendered(backbones.load(replicas["llama1b"]))
    system = f"<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: {DATE}"
    assert own == f"<|begin_of_text|>{system}\n\n<|eot_id|>{LLAMA}"
    assert rendered(backbones.load(replicas["llama1b"], prompts="official")) == "<|begin_of_text|>" + LLAMA


def test_the_official_prompt_needs_its_tokens(micro_backbones, replicas, tmp_path):
    vicuna = shutil.copytree(replicas["llama1b"], tmp_path / "vicuna")
    tokenizer = (vicuna / "tokenizer.json").read_text()
    (vicuna / "tokenizer.json").write_text(tokenizer.replace("<|eot_id|>", "</s>"))
    for file in ("tokenizer_config.json", "special_tokens_map.json", "chat_template.json"):
        (vicuna / file).write_text((vicuna / file).read_text().replace("<|eot_id|>", "</s>"))
    assert "</s>" in rendered(backbones.load(vicuna))
    with pytest.raises(
        DrakeError, match=r"vicuna has no token <\|eot_id\|>, which the official prompt .* --prompts st"
    ):
        backbones.load(vicuna, prompts="official")


def test_the_padded_square_has_the_picture_in_its_middle():
    wide = Image.new("RGB", (7, 2), (255, 0, 0))
    square = pad_to_square(wide, MEAN_COLOUR)
    assert square.size == (7, 7)
    assert [square.getpixel((3, y)) for y in range(7)] == [MEAN_COLOUR] * 2 + [(255, 0, 0)] * 2 + [MEAN_COLOUR] * 3
    tall = pad_to_square(wide.rotate(90, expand=True), MEAN_COLOUR)
    assert [tall.getpixel((x, 3)) for x in range(7)] == [MEAN_COLOUR] * 2 + [(255, 0, 0)] * 2 + [MEAN_COLOUR] * 3
    assert pad_to_square(square, (0, 0, 0)) is square


def test_a_very_long_picture_is_made_smaller_before_it_is_padded():
    long = pad_to_square(Image.new("RGB", (20_000, 200), (255, 0, 0)), MEAN_COLOUR)
    assert long.size == (LONGEST_SIDE, LONGEST_SIDE)
    assert long.getpixel((10, LONGEST_SIDE // 2)) == (255, 0, 0)


def test_the_ends_of_an_oblong_picture_are_seen_by_the_models_of_the_paper_alone(hub):
    """A stored processor that crops the middle of a picture cannot tell these apart."""
    pictures = [oblong("left", "red"), oblong("right", "blue"), oblong("top", "red"), oblong("bottom", "blue")]
    padded = backbones.load("llama1b")
    assert padded.pad_colour == MEAN_COLOUR
    one, other, upper, lower = padded.features(pictures)
    assert (one - other).abs().max() > 0.1
    assert (upper - lower).abs().max() > 0.1
    cropped = backbones.load("llama1b", pictures="stored")
    assert cropped.pad_colour is None
    one, other, upper, lower = cropped.features(pictures)
    assert torch.equal(one, other)
    assert torch.equal(upper, lower)


def test_padded_features_are_those_of_the_padded_picture_in_stock_transformers(hub, replicas):
    backbone, picture = backbones.load("llama1b"), oblong("right", "green")
    square = pad_to_square(Image.open(io.BytesIO(picture)), MEAN_COLOUR)
    processor = backbones.load(replicas["llama1b"]).processor
    pixels = processor.image_processor([square], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = backbone.model.get_image_features(pixel_values=pixels, return_dict=True).pooler_output[0]
    torch.testing.assert_close(backbone.features([picture])[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("config.json", {"image_aspect_ratio": "pad"}),
        ("preprocessor_config.json", {"image_aspect_ratio": "pad"}),
        ("preprocessor_config.json", {"do_pad": True}),
        ("preprocessor_config.json", {"do_pad": True, "image_processor_type": "LlavaImageProcessor"}),
    ],
)
def test_a_checkpoint_that_says_so_is_given_squares(replicas, hub, tmp_path, file, said):
    folder = shutil.copytree(replicas["llama1b"], tmp_path / "says")
    (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | said))
    says, asked, silent = backbones.load(folder), backbones.load("llama1b"), backbones.load(replicas["llama1b"])
    assert (says.pad_colour, silent.pad_colour) == (MEAN_COLOUR, None)
    assert torch.equal(says.features(RECORD["images"])[0], asked.features(RECORD["images"])[0])


def test_any_checkpoint_is_given_squares_on_request_and_stored_features_are_kept_apart(replicas):
    plain, padded = (backbones.load(replicas["llama1b"], pictures=how) for how in ("auto", "pad"))
    assert (plain.pad_colour, padded.pad_colour) == (None, MEAN_COLOUR)
    assert encoder_identity(plain) != encoder_identity(padded)


def test_the_colour_is_the_mean_of_the_processor(replicas):
    processor = backbones.load(replicas["llama1b"]).processor.image_processor
    assert mean_colour(processor) == MEAN_COLOUR
    processor.image_mean = [0.5, 0.5, 0.5]  # SigLIP's
    assert mean_colour(processor) == (127, 127, 127)


CUT = ["--preset", "paper", "--rounds", "2", "--steps", "1", "--rank", "4", "--eval-records", "2", "--device", "cpu",
       "--engine", "serial", "--set", "evaluation.max_new_tokens=4"]  # fmt: skip


def test_the_preset_of_the_paper_runs_on_replicas_of_its_models(hub, data, tmp_path):
    """Of all methods: tests/data/test_hub_to_submission.py."""
    models = "llama1b,llama3b"
    asked = ["eval", "--method", "fedmosaic", "--models", models, "--data", data, "--out", str(tmp_path / "run"), *CUT]
    result = CliRunner().invoke(drake, asked, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = load_results(tmp_path / "run")
    assert found.status == "complete"
    assert found.preset == "paper"
    assert sorted(set(found.models.per_client)) == sorted(models.split(","))
    assert all(0 < loss < 20 for losses in found.runs[0].train_loss for loss in losses)
    assert found.runs[0].scores["official"]


def test_another_prompt_is_another_run(hub, data, tmp_path):
    from drake.config import configure
    from drake.runs import Setup

    asked = {"models": ["llama1b"], "data": data, "device": "cpu", "dtype": "bfloat16"}
    usual = Setup(configure("sft", "paper", **asked))
    assert not {"prompts", "pictures"} & usual.identity().keys()
    changed = Setup(configure("sft", "paper", prompts="stored", pictures="stored", **asked))
    assert {key: changed.identity()[key] for key in ("prompts", "pictures")} == {
        "prompts": "stored",
        "pictures": "stored",
    }
    assert [made.backbones["llama1b"].pad_colour for made in (usual, changed)] == [MEAN_COLOUR, None]
