"""Reconstruction from raw sources: a row, picture or file that cannot be used is one sentence."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from raw_samples import by_text, draw, drawn, found, lines, raw_folder

from drake.data.building import build
from drake.data.sources import open_source
from drake.data.sources.raw.source import RawSource
from drake.errors import DrakeError, UnknownName


def change(path, row, **values):
    """The row of a file of JSON Lines or of a JSON list with other values; None takes one away."""
    text = path.read_text()
    rows = json.loads(text) if text.startswith("[") else lines(path)
    rows[row] = {name: value for name, value in (rows[row] | values).items() if value is not None}
    path.write_text(json.dumps(rows) if text.startswith("[") else "".join(json.dumps(r) + "\n" for r in rows))


HOSTILE = [
    ("VSR", "train.jsonl", {"label": None}, r"train.jsonl, line 4 has no column 'label'"),
    ("VSR", "train.jsonl", {"label": 2}, r"line 4: its 'label' is '2'; it must be 0 or 1"),
    ("VSR", "train.jsonl", {"caption": ["x"]}, r"line 4: its 'caption' holds list where a text belongs"),
    ("VSR", "train.jsonl", {"image": "../../x.png"}, r"line 4: its image path 'images/../../x.png' cannot be used"),
    (
        "VSR",
        "train.jsonl",
        {"image": "gone.png"},
        r"1 of 59 pictures are missing in .*the first is images/gone.png of ",
    ),
    ("VSR", "train.jsonl", {"caption": "half \ud83d"}, r"holds half a character"),
    ("NLVR2", "dev.json", {"label": "Maybe"}, r"its 'label' is 'Maybe'; it must be True or False"),
    ("NLVR2", "dev.json", {"identifier": "dev/../x-1-0-0"}, r"its identifier .* is not as in 'dev-850-0-0'"),
    ("CIRR", "captions/cap.rc2.val.json", {"target_hard": "nobody"}, r"its picture 'nobody' is not in image_splits/"),
    ("CIRR", "captions/cap.rc2.val.json", {"img_set": {"members": "x"}}, r"'img_set' must hold 'members'"),
    ("AQUA", "test.json", {"need_external_knowledge": None}, r"has no column 'need_external_knowledge'"),
    ("WCVQA", "small_eval_task1/en_small_eval.jsonl", {"multi_choice_answer": 6}, r"it must be 1 or 2 or 3 or 4 or 5"),
    ("WCVQA", "small_eval_task1/en_small_eval.jsonl", {"answer": "Pie"}, r"of its prompt is not its answer 'Pie'"),
    ("Mantis_contrastive_caption", "train.json", {"images": [{"path": 3}]}, r"'images' must hold paths of pictures"),
]


@pytest.mark.parametrize(("name", "file", "values", "message"), HOSTILE)
def test_a_row_that_cannot_be_used_names_its_place(tmp_path, name, file, values, message):
    folder = raw_folder(tmp_path, name)
    change(folder / name / file, 3, **values)
    with pytest.raises(DrakeError, match=message) as caught:
        build(f"raw:{folder}", out=tmp_path / "built")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "built").exists()


def test_hostile_contents_of_the_other_formats(tmp_path):
    folder = raw_folder(tmp_path, "imagecode", "COMICS_Dialogue", "MagicBrush", "IRFL", "CIRR")
    (folder / "imagecode/valid_data.json").write_text(json.dumps({"a": {"12": "x"}}))
    with pytest.raises(DrakeError, match=r"set 'a' describes a picture '12'; its pictures are 0 to 9"):
        found(folder, "imagecode-0", "test")
    (folder / "imagecode/valid_data.json").write_text(json.dumps({"../../b": {"1": "x"}, "c": {"1": "y"}}))
    with pytest.raises(DrakeError, match=r"cannot be used: .* leaves the folder"):
        found(folder, "imagecode-0", "test")
    fold = folder / "COMICS_Dialogue/folds/text_cloze_dev_easy.csv"
    fold.write_text(fold.read_text().replace("correct_answer", "right"))
    with pytest.raises(DrakeError, match=r"has no column 'correct_answer'"):
        found(folder, "COMICS_Dialogue-0", "test")
    pq.write_table(pa.table({"img_id": ["1"]}), folder / "MagicBrush/data/train-00000-of-00001.parquet")
    with pytest.raises(DrakeError, match=r"has no column 'turn_index'; it has img_id"):
        found(folder, "MagicBrush-0", "test")
    file = folder / "IRFL/idioms_dataset.csv"
    file.write_text(file.read_text().replace("['meaning 0.'", "[meaning 0.'"))
    with pytest.raises(DrakeError, match=r"its 'definition' begins like a list and is none"):
        found(folder, "IRFL-0", "test")
    splits = folder / "CIRR/image_splits/split.rc2.val.json"
    splits.write_text(splits.read_text().replace("./dev/dev-244-0-img0.png", "../../../etc/passwd"))
    with pytest.raises(DrakeError, match=r"its image path 'images/../../../etc/passwd' cannot be used"):
        found(folder, "CIRR-0", "test")


def test_nothing_outside_the_folder_is_read(tmp_path):
    outside = tmp_path / "outside"
    folder = raw_folder(tmp_path / "raw", "VSR")
    (folder / "VSR/test.jsonl").rename(tmp_path / "test.jsonl")
    (folder / "VSR/test.jsonl").symlink_to(tmp_path / "test.jsonl")
    with pytest.raises(DrakeError, match=r"a record file of VSR cannot be used: .* link that leads out"):
        RawSource(str(folder))
    (folder / "VSR").rename(outside)
    (folder / "VSR").symlink_to(outside)
    with pytest.raises(DrakeError, match=r"the data set VSR cannot be used: .* link that leads out"):
        RawSource(str(folder))


def test_a_picture_that_is_none_is_refused(tmp_path):
    folder = raw_folder(tmp_path, "VSR")
    (folder / "VSR/images/000000558388.jpg").write_text("<html>")
    with pytest.raises(DrakeError, match=r"000000558388.jpg cannot be decoded: the picture is an HTML page"):
        found(folder, "VSR-0", "train")


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DrakeError, match=r"there is no folder"):
        open_source(f"raw:{tmp_path}/nowhere")
    with pytest.raises(DrakeError, match=r"holds none of the folders that are read \(AQUA, CIRR, "):
        open_source(f"raw:{tmp_path}")
    (tmp_path / "VSR").mkdir()
    with pytest.raises(DrakeError, match=r"holds none of its record files \(train.jsonl or dev.jsonl or test.jsonl\)"):
        open_source(f"raw:{tmp_path}")
    raw_folder(tmp_path, "VSR")
    with pytest.raises(UnknownName, match=r"VRS-0.*VSR-0"):
        open_source(f"raw:{tmp_path}", tasks="VRS-0")
    with pytest.raises(DrakeError, match="test of the source 'raw' must be at least 1, not 0"):
        open_source(f"raw:{tmp_path}", test=0)
    (tmp_path / "CIRR/captions").mkdir(parents=True)
    (tmp_path / "CIRR/captions/cap.rc2.val.json").write_text("[]")
    with pytest.raises(DrakeError, match=r"there is no file .*split.rc2.val.json, which says where the pictures"):
        found(tmp_path, "CIRR-0", "test")


def test_too_few_rows_are_one_sentence(tmp_path):
    folder = raw_folder(tmp_path, "AQUA")
    with pytest.raises(DrakeError, match=r"task AQUA-1 gets no test record from .*: its files hold too few rows"):
        found(folder, "AQUA-1", "test")
    (folder / "AQUA/test.json").write_text("[]")
    with pytest.raises(DrakeError, match=r"has 0 rows that all share pictures, too few to draw test records from"):
        build(f"raw:{folder}", out=tmp_path / "built")


def test_a_picture_set_given_under_a_directory_is_found_there(tmp_path):
    folder = raw_folder(tmp_path, "NLVR2")
    row = lines(folder / "NLVR2/dev.json")[0] | {"directory": "7"}
    change(folder / "NLVR2/dev.json", 0, directory="7")
    stem = row["identifier"].rpartition("-")[0]
    for place in (0, 1):
        (folder / f"NLVR2/images/dev/{stem}-img{place}.png").unlink()
        draw(folder / f"NLVR2/images/dev/7/{stem}-img{place}.png")
    records = [r for n in (0, 1) for split in ("train", "test") for r in found(folder, f"NLVR2-{n}", split)]
    assert by_text(records, row["sentence"]).images == tuple(drawn(f"7/{stem}-img{place}.png") for place in (0, 1))
