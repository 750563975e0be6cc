"""Backbones: batches equal the stock path, pictures are encoded once, padding changes nothing, errors help."""

import io
import json
import shutil

import pytest
import torch
from PIL import Image

from drake.engines.prefetch import ahead
from drake.errors import DrakeError, UnknownName
from drake.models import backbones, checkpoints
from drake.models.backbones import IGNORED, answer_logits, load
from drake.models.tiny import Shape, new_model, new_processor, new_tokenizer

TEXTS = ["What colour is the shirt? Choice list:[red, light blue]. Your answer is:", "red", "light blue"]


def picture(seed: int) -> bytes:
    noise = torch.randint(0, 256, (36, 36, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise.numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def record(number: int, pictures: int, words: int) -> dict:
    return {
        "id": f"test/{number:06d}",
        "images": [picture(100 * number + k) for k in range(pictures)],
        "prompt": "<image>" * pictures + "\nWhat colour is the shirt?" + " red" * words,
        "choices": ["red", "light blue"],
        "answer": ("red", "light blue")[number % 2],
    }


RECORDS = [record(n, pictures=1 + n % 3, words=(5 * n) % 7) for n in range(8)]


@pytest.fixture(scope="module", params=["llama", "qwen"])
def folder(request, tmp_path_factory):
    family = request.param
    path = tmp_path_factory.mktemp(family)
    tokenizer = new_tokenizer(family, TEXTS)
    new_processor(family, tokenizer).save_pretrained(path)
    new_model(Shape(family, layers=2, width=16, feed_forward=32), tokenizer, seed=0).save_pretrained(path)
    return path


@pytest.fixture
def backbone(folder):
    return load(folder)


def test_a_local_folder_loads_frozen_and_knows_its_sizes(backbone, folder):
    assert backbone.family in folder.name
    assert (backbone.num_layers, backbone.hidden_size) == (2, 16)
    assert not backbone.model.training
    assert not any(p.requires_grad for p in backbone.model.parameters())
    assert len(backbone.revision) == 64
    assert load(folder).revision == backbone.revision


def test_other_weights_are_another_revision(folder, tmp_path, backbone):
    shutil.copytree(folder, tmp_path / "copy")
    model = load(tmp_path / "copy").model
    model.lm_head.weight.data += 1
    model.save_pretrained(tmp_path / "copy")
    assert load(tmp_path / "copy").revision != backbone.revision


@pytest.mark.parametrize("data", RECORDS[:3], ids=["1 picture", "2 pictures", "3 pictures"])
def test_forward_equals_the_stock_forward_with_pixel_values(backbone, data):
    batch = backbone.batch([data], answers=False)
    images = [Image.open(io.BytesIO(image)) for image in data["images"]]
    text = backbone.tokenizer.apply_chat_template(
        backbone.chat.messages(data),
        chat_template=backbone.processor.chat_template,
        tokenize=False,
        add_generation_prompt=True,
    )
    stock = backbone.processor(images=images, text=text, return_tensors="pt", add_special_tokens=False)
    assert torch.equal(stock["input_ids"], batch.input_ids)
    with torch.no_grad():
        expected = backbone.model(**stock).logits
        found = backbone.model(**batch.inputs).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_labels_are_the_answer_and_its_end_of_turn(backbone):
    batch = backbone.batch(RECORDS, answers=True)
    for row, data in enumerate(RECORDS):
        wanted = batch.labels[row] != IGNORED
        assert batch.labels[row][wanted].tolist() == backbone.chat.answer_ids(data)
        assert torch.equal(batch.labels[row][wanted], batch.input_ids[row][wanted])
        assert backbone.decode(batch.labels[row][wanted]) == data["answer"]


def test_training_pads_right_and_generation_left(backbone):
    training, generation = (backbone.batch(RECORDS, answers=answers) for answers in (True, False))
    assert generation.labels is None
    assert training.inputs["attention_mask"][:, 0].all()
    assert generation.inputs["attention_mask"][:, -1].all()
    for batch in (training, generation):
        mask, positions = batch.inputs["attention_mask"], batch.inputs["position_ids"]
        assert not mask.all()  # the records differ in length, or this tests nothing
        for row in range(len(RECORDS)):
            assert positions[row][mask[row] == 1].tolist() == list(range(mask[row].sum()))


def test_two_threads_make_the_batches_that_one_makes(folder):
    expected = [load(folder).batch([record], answers=True) for record in RECORDS]
    backbone = load(folder)
    for made, alone in zip(ahead(backbone.batch([record], answers=True) for record in RECORDS), expected, strict=True):
        again = backbone.batch(alone.records, answers=True)
        for found in (made, again):
            assert torch.equal(found.labels, alone.labels)
            assert torch.equal(found.inputs["inputs_embeds"], alone.inputs["inputs_embeds"])


def test_answer_logits_give_the_stock_loss(backbone):
    batch = backbone.batch(RECORDS, answers=True)
    with torch.no_grad():
        logits, targets = answer_logits(backbone.model, batch)
        stock = backbone.model(**batch.inputs, labels=batch.labels).loss
    assert len(targets) == sum(len(backbone.chat.answer_ids(data)) for data in RECORDS)
    torch.testing.assert_close(torch.nn.functional.cross_entropy(logits, targets), stock, atol=1e-5, rtol=0)


def test_generation_does_not_depend_on_the_batch(backbone):
    def generate(size: int) -> tuple[list[list[int]], torch.Tensor]:
        ids, logits = [], []
        for start in range(0, len(RECORDS), size):
            batch = backbone.batch(RECORDS[start : start + size], answers=False)
            output = backbone.model.generate(
                **batch.inputs,
                max_new_tokens=4,
                min_new_tokens=4,
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
            )
            ids += output.sequences.tolist()
            logits.append(torch.stack(output.logits, dim=1))
        return ids, torch.cat(logits)

    ids, logits = generate(1)
    for size in (3, 8):
        other_ids, other_logits = generate(size)
        assert other_ids == ids
        torch.testing.assert_close(other_logits, logits, atol=1e-5, rtol=0)


def test_each_distinct_picture_is_encoded_once(backbone, monkeypatch):
    encoded = []
    encode = backbone.encoder._encode
    monkeypatch.setattr(backbone.encoder, "_encode", lambda found, *rest: encoded.extend(found) or encode(found, *rest))
    a, b, c = picture(1), picture(2), picture(3)
    first = backbone.features([a, b, a])
    assert len(encoded) == 2
    assert torch.equal(first[0], first[2])
    second = backbone.features([b, c])
    assert len(encoded) == 3
    assert torch.equal(second[0], first[1])


def test_features_have_the_same_bits_in_any_company(folder):
    images = [picture(seed) for seed in range(20)]
    together = load(folder).features(images)
    alone = load(folder)
    assert all(torch.equal(alone.features([image])[0], f) for image, f in zip(images, together, strict=True))


def test_the_feature_cache_forgets_the_least_recently_used(backbone, monkeypatch):
    a, b, c = picture(1), picture(2), picture(3)
    backbone.cache.memory_bytes = 2 * backbone.features([a])[0].nbytes
    backbone.features([b])
    backbone.features([a])  # now b is the older one
    backbone.features([c])
    encoded = []
    encode = backbone.encoder._encode
    monkeypatch.setattr(backbone.encoder, "_encode", lambda found, *rest: encoded.extend(found) or encode(found, *rest))
    backbone.features([a, c])
    assert encoded == []
    backbone.features([b])
    assert len(encoded) == 1


def test_rows_of_a_dataset_hold_pictures_as_bytes(backbone):
    data = RECORDS[0]
    row = data | {"images": [{"bytes": data["images"][0], "path": None}]}
    expected = backbone.batch([data], answers=False).inputs["inputs_embeds"]
    assert torch.equal(backbone.batch([row], answers=False).inputs["inputs_embeds"], expected)


def test_a_broken_picture_names_its_record(backbone):
    broken = RECORDS[1] | {"images": [RECORDS[1]["images"][0], b"no picture"]}
    with pytest.raises(DrakeError, match=r"record 'test/000001', picture 1: .*\.$"):
        backbone.batch([RECORDS[0], broken], answers=False)


def test_a_picture_that_is_there_by_its_path_alone_names_its_record(backbone, tmp_path):
    (tmp_path / "there.png").write_bytes(RECORDS[0]["images"][0])
    named = RECORDS[0] | {"images": [{"bytes": None, "path": str(tmp_path / "there.png")}]}
    with pytest.raises(DrakeError, match=r"'test/000000', picture 0: .*there\.png.* are not read.*\.$"):
        backbone.batch([named], answers=False)


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
