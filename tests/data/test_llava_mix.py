"""LLaVA's fine-tuning mix as public records: what a record becomes, the sample of a run, and what is refused."""

import json
import os
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from build_samples import png
from mix_samples import PICTURES, mix, turns

import drake
from drake.data.public_pool import public_pool
from drake.data.sources import json_stream, open_source
from drake.data.sources.llava_mix import LlavaMixSource, first_turn
from drake.errors import DrakeError


def test_a_record_is_the_first_question_with_the_first_answer(tmp_path):
    records = list(open_source(mix(tmp_path)).public_records())
    assert [record.prompt for record in records] == [f"<image>\nWhat is {n}?" for n in range(6)] + ["Name a fish."]
    assert [record.answer for record in records] == [f"it is {n}" for n in range(6)] + ["Pike."]
    assert [record.images for record in records] == [(png(n),) for n in range(6)] + [()]
    assert [record.source for record in records] == ["coco", "gqa", "ocr_vqa", "textvqa", "vg", "vg", "text"]
    assert records[6].id == "public/llava-mix/000006"


@pytest.mark.parametrize(
    "given",
    [{}, {"conversations": []}, {"conversations": turns("only a question")},
     {"conversations": [{"from": "human", "value": "a"}, {"from": "human", "value": "b"}]},
     {"conversations": turns("", "an answer")}],
)  # fmt: skip
def test_a_record_without_question_and_answer_is_left_out(given):
    assert first_turn(given) is None


def test_a_sample_is_the_same_again_spread_over_the_file_and_reads_no_other_picture(tmp_path):
    source = open_source(f"llava-mix:{mix(tmp_path, repeat=50)}")
    sample = [record.id for record in source.public_sample(20, Random(3))]
    assert sample == [record.id for record in source.public_sample(20, Random(3))] == sorted(sample)
    assert len(set(sample)) == 20
    assert int(sample[0][-6:]) < 100 < 300 < int(sample[-1][-6:])
    for picture in PICTURES:
        (tmp_path / picture).unlink()
    assert len(list(source.public_sample(0, Random(3)))) == 0  # nothing drawn, nothing read
    with pytest.raises(DrakeError, match=r"its image .* is missing; fetch the pictures of its source data set"):
        list(source.public_sample(20, Random(3)))


def test_the_pool_of_a_run_is_stored_once_and_changes_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path / "cache"))
    folder = mix(tmp_path / "mix")
    whole, some = public_pool(str(folder), 0), public_pool(str(folder), 3)
    assert (len(whole.rows), len(some.rows)) == (7, 3)
    assert whole.rows[6]["answer"] == "Pike."
    assert whole.rows[0]["images"][0]["bytes"] == png(0)
    monkeypatch.setattr(LlavaMixSource, "public_records", None)  # kept, so not read again
    assert public_pool(str(folder), 0).digest == whole.digest
    monkeypatch.undo()
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path / "cache"))
    (folder / "coco/train2017/000000000001.jpg").write_bytes(png(9))
    rows = json.loads((folder / "llava_v1_5_mix665k.json").read_text())
    (folder / "llava_v1_5_mix665k.json").write_text(json.dumps(rows[:3]))
    assert public_pool(str(folder), 0).digest != whole.digest


def test_a_stored_pool_that_is_another_one_or_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path / "cache"))
    folder = mix(tmp_path / "mix")
    public_pool(str(folder), 0)
    (about,) = (tmp_path / "cache").glob("public-*/pool.json")
    (path,) = (about.parent / "public").glob("*.parquet")
    good, table = path.read_bytes(), pq.read_table(path)
    again = f"delete {about.parent}, and the next run makes it again"

    def refused(sentence):
        with pytest.raises(DrakeError, match=sentence) as found:
            public_pool(str(folder), 0)
        assert again in str(found.value)

    pq.write_table(table.slice(1), path)
    refused("has other rows than pool.json says")
    bomb = pa.array(["x" * 1_000_000]).dictionary_encode()
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int32()), bomb.dictionary)
    many = pa.concat_tables([table.slice(0, 1)] * 300).set_column(table.column_names.index("prompt"), "prompt", texts)
    pq.write_table(many, path, compression="zstd")
    assert path.stat().st_size < 1_000_000
    refused("more than 268,435,456 bytes in the column prompt")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DrakeError, match="is no file"):
        public_pool(str(folder), 0)
    path.unlink()
    refused("does not describe the files beside it")
    path.write_bytes(good)
    assert len(public_pool(str(folder), 0).rows) == 7
    about.write_text(json.dumps(json.loads(about.read_text()) | {"files": ["../../x"]}))
    refused("does not describe the files beside it")


def test_any_source_and_any_dataset_gives_public_records(release, tmp_path, micro_data, monkeypatch):
    """The release has none of its own, so its train records serve."""
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path / "cache"))
    rows = public_pool(f"release:{release.folder}", 5000).rows
    assert [row["id"] for row in rows] == ["public/Pets-0/000000", "public/Pets-0/000001"]
    assert {(row["task"], row["category"]) for row in rows} == {("public", "public")}
    dataset = drake.load(micro_data)
    assert list(public_pool(micro_data, 0).rows["id"]) == list(dataset.public["id"])


def test_a_dataset_is_built_with_public_records_of_another_source(release, tmp_path):
    public = f"llava-mix:{mix(tmp_path / 'mix')}"
    sizes = {"train": 4, "test": 2, "public_per_world": 1, "workers": 1}
    benchmark = drake.load(drake.build("mini", out=tmp_path / "built", public=public, **sizes))
    assert len(benchmark.public) == 7  # in the place of the suite's own, one for each of 25 worlds
    assert benchmark.public["answer"][6] == "Pike."
    assert benchmark.manifest.parameters["public_most"] == 5000
    with pytest.raises(DrakeError, match="built in stages and takes no public records; leave --public out here"):
        drake.build(release.folder, out=tmp_path / "staged", public=public)
    with pytest.raises(DrakeError, match="'llava-mix' has public records alone; add them to a dataset, with --public"):
        drake.build(f"llava-mix:{tmp_path / 'mix'}", out=tmp_path / "alone")


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"image": "coco/no.jpg", "conversations": turns("<image> Who?", "I")}, "record 0 .*: its image .* is missing"),
        ({"image": "../x.jpg", "conversations": turns("<image> Who?", "I")}, "cannot be used: .* leaves the folder"),
        ({"image": ["a", "b"], "conversations": turns("<image>", "I")}, "its 'image' must be one path"),
        ({"image": "a.jpg", "conversations": turns("Who?", "I")}, "first question has 0 <image> for 1 images"),
        ({"conversations": turns("<image> Who?", "I")}, "first question has 1 <image> for 0 images"),
        ({"conversations": turns("Who?", "an <image>")}, "has <image> in its answer"),
        ("text", "record 0 .* is no JSON object"),
    ],
)
def test_what_is_wrong_with_a_record_is_one_sentence(tmp_path, row, sentence):
    path = tmp_path / "llava_v1_5_mix665k_mixed.json"
    path.write_text(json.dumps([row]))
    with pytest.raises(DrakeError, match=sentence):
        list(open_source(path).public_records())


def test_a_folder_without_the_file_is_one_sentence(tmp_path):
    with pytest.raises(DrakeError, match=r"holds no llava_v1_5_mix665k\.json, which lists"):
        open_source(f"llava-mix:{tmp_path}")


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
def test_a_list_is_read_in_chunks_of_any_size(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    values = [{"a": [1, 2, {"b": "]}"}]}, 'é"x', 12345, None, [], -1.5e3]
    path = tmp_path / "list.json"
    path.write_text("\n [" + ",\n ".join(json.dumps(value, ensure_ascii=False) for value in values) + "] ")
    assert list(json_stream.items(path)) == values


@pytest.mark.parametrize(
    ("text", "sentence"),
    [('[{"a": 1}, {"b"', "or is cut off"), ('{"a": 1}', "holds no JSON list"), ("[1, x]", "no valid")],
)
def test_a_damaged_list_is_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "list.json"
    path.write_text(text)
    with pytest.raises(DrakeError, match=sentence):
        list(json_stream.items(path))
