"""Backbones: batches equal the stock path, pictures are encoded once, padding changes nothing."""

import io
import shutil

import pytest
import torch
from micro_checkpoint import RECORDS, picture
from PIL import Image

from drake.engines.prefetch import ahead
from drake.errors import DrakeError
from drake.models.backbones import IGNORED, answer_logits, load


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
