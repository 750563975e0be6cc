"""A language model without eyes is a backbone: the same logits as inside its LLaVA, and pictures refused."""

import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM

from drake.errors import DrakeError
from drake.models import backbones
from drake.models.batching import answer_logits
from drake.scoring.generation import generate

RECORD = {
    "id": "a/train/000000",
    "images": [],
    "prompt": "What colour is the ball?\nChoice list:[red, blue]. Your answer is:",
    "answer": "red",
}
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


@pytest.fixture(scope="module", params=["llama-4", "qwen-4"])
def both(request, micro_backbones, text_checkpoint):
    """The folder of a LLaVA, and of its language model alone."""
    return micro_backbones[request.param], text_checkpoint(request.param)


def test_it_computes_what_the_same_language_model_computes_in_a_llava(both):
    llava, text = map(backbones.load, both)
    assert text.reads_pictures is False
    assert (text.family, text.num_layers, text.hidden_size) == (llava.family, llava.num_layers, llava.hidden_size)
    batches = [backbone.batch([RECORD, RECORD | {"answer": "blue"}], answers=True) for backbone in (llava, text)]
    (first, targets), (second, same) = (
        answer_logits(backbone.model, batch) for backbone, batch in zip((llava, text), batches, strict=True)
    )
    assert torch.equal(targets, same)
    assert torch.equal(first, second)
    asked = [backbone.batch([RECORD], answers=False) for backbone in (llava, text)]
    said = [generate(b.model, batch, b.stop_ids, 5) for b, batch in zip((llava, text), asked, strict=True)]
    assert said[0] == said[1]


def test_it_has_no_weights_for_pictures(both):
    text = backbones.load(both[1])
    alone = AutoModelForCausalLM.from_pretrained(both[1])
    assert sum(p.numel() for p in text.model.parameters()) == sum(p.numel() for p in alone.parameters())
    assert backbones.outline(both[1]).num_layers == text.num_layers


def test_a_record_with_pictures_is_refused(both):
    record = RECORD | {"prompt": "<image> " + RECORD["prompt"], "images": [{"bytes": b"x"}]}
    with pytest.raises(DrakeError, match=r"record 'a/train/000000' has pictures, and .* reads text alone"):
        backbones.load(both[1]).batch([record], answers=True)


def test_a_template_for_plain_strings_and_no_picture_token_will_do(both, tmp_path):
    folder = shutil.copytree(both[1], tmp_path / "plain")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text((folder / name).read_text().replace('"<image>"', '"<other>"'))
    backbone = backbones.load(folder)
    assert backbone.chat.image_token_id == -1
    batch = backbone.batch([RECORD], answers=True)
    assert backbone.decode(batch.labels[0, 1:][batch.labels[0, 1:] != -100]) == "red"


def test_a_damaged_folder_is_one_sentence(both, tmp_path):
    folder = shutil.copytree(both[1], tmp_path / "damaged")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(DrakeError, match=r"has no tokenizer"):
        backbones.load(folder)
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(DrakeError, match="damaged or not complete"):
        backbones.load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(DrakeError, match=r"holds a config.json and no \*.safetensors"):
        backbones.load(folder)


def test_the_official_prompt_can_be_asked_for(both):
    backbone = backbones.load(both[1], prompts="official")
    asked = backbone.tokenizer.decode(backbone.chat.prompt_ids(RECORD))
    assert "Your answer is:<|" in asked
    assert ("You are Qwen" in asked) == (backbone.family == "qwen")
