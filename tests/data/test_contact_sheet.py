"""`drake peek`: a picture of records, whatever their texts and pictures are."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from build_samples import png
from click.testing import CliRunner
from PIL import Image
from stored_samples import at, column, rewrite, stored

from drake.cli.dataset import peek as command
from drake.data.contact_sheet import peek
from drake.errors import DrakeError, UnknownName


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    nasty = "$\\frac{1}$ \x1b[31m 日本 \u202e" + "x" * 2000
    wide = Image.new("RGB", (400, 4), (250, 0, 250))

    def change(split, record):
        if record.task != "Maps-0":
            return record._replace(images=(png(1 + 2 * 256),))
        wide.save(picture := tmp_path_factory.mktemp("p") / "wide.png")
        return record._replace(prompt="<image>" * 20 + nasty, images=(picture.read_bytes(),) * 20)

    return stored(tmp_path_factory.mktemp("sheet") / "d", change)


def colours(path: Path) -> set[tuple[int, ...]]:
    return set(map(tuple, np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)))


def test_a_sheet_shows_one_record_of_each_task_or_some_of_one(folder, tmp_path):
    assert peek(folder, out=tmp_path / "all.png") == 3  # Maps-0 has no train records
    assert (1, 2, 77) in colours(tmp_path / "all.png")
    assert peek(folder, "Pets-0", split="test", records=5, out=tmp_path / "of/five.png") == 5
    few, many = Image.open(tmp_path / "all.png"), Image.open(tmp_path / "of/five.png")
    assert few.width == many.width
    assert few.height < many.height


def test_texts_are_shown_as_they_are_and_long_ones_cut(folder, tmp_path, recwarn):
    assert peek(folder, "Maps-0", split="test", records=1, out=tmp_path / "maps.png") == 1
    assert (250, 0, 250) in colours(tmp_path / "maps.png")
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_wrong_input_is_one_sentence(folder, tmp_path, monkeypatch):
    out = tmp_path / "sheet.png"
    with pytest.raises(UnknownName, match="did you mean 'Pets-0'"):
        peek(folder, "Pet-0", out=out)
    with pytest.raises(DrakeError, match="Maps-0 has no train records"):
        peek(folder, "Maps-0", out=out)
    monkeypatch.setattr("drake.data.contact_sheet.MOST_LINES", 2)
    with pytest.raises(DrakeError, match="3 records do not fit on a sheet of 2"):
        peek(folder, out=out)
    with pytest.raises(DrakeError, match="cannot be written"):
        peek(folder, "Pets-0", records=1, out=tmp_path)
    assert not out.exists()


def test_the_command_says_what_it_wrote(folder, tmp_path):
    done = CliRunner().invoke(command, [str(folder), "public", "--records", "2", "--out", str(tmp_path / "p.png")])
    assert (done.exit_code, done.output) == (0, f"wrote {tmp_path / 'p.png'} with 2 records\n")


def test_a_hostile_file_is_one_sentence(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    rewrite(
        copy,
        "data/Pets-0/train-00000.parquet",
        lambda table: column(table, "images", lambda rows: [rows[0] * 2000] * len(rows)),
    )
    with pytest.raises(DrakeError, match="40,000 values of images in 20 rows"):
        peek(copy, "Pets-0", out=tmp_path / "p.png")
    damaged = [{"bytes": b"no picture", "path": None}]
    rewrite(copy, "data/Cars-0/train-00000.parquet", lambda table: column(table, "images", at(0, damaged)))
    with pytest.raises(DrakeError, match="'Cars-0/train/000000' of task Cars-0, picture 0: the picture is of no known"):
        peek(copy, "Cars-0", out=tmp_path / "p.png")
