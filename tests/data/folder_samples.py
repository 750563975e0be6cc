"""A user's own data in a folder: three train and two test records of one task, and drake.toml files."""

import io
import json
from pathlib import Path

from PIL import Image

from drake.data.sources.folder import FolderSource

PROMPT = "{images}Which?\\nChoice list:[{choices}]. Your answer is:"


def png(red: int, green: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (red, green, 9)).save(buffer, "PNG")
    return buffer.getvalue()


def toml(folder: Path, text: str, head: str = 'name = "Signs"\nlicence = "cc0-1.0"\n') -> Path:
    (folder / "drake.toml").write_text(head + text, encoding="utf-8")
    return folder


def task(**keys: str) -> str:
    """A table [tasks.Signs-0] of a task with two choices; values are TOML."""
    given = {"prompt": f'"{PROMPT}"', "choices": '["cat", "dog"]', "answer": '"label"', "images": '"photo"'} | keys
    return "[tasks.Signs-0]\n" + "\n".join(f"{key} = {value}" for key, value in given.items() if value)


def of_two_files(**keys: str) -> str:
    """`task` with the files that `signs_folder` writes."""
    return task(**{"train": '"train.jsonl"', "test": '"test.jsonl"'} | keys)


def of_local_dataset() -> str:
    """`task` without pictures, of a dataset in the subfolder local."""
    return task(dataset='"local"', train='"train"', test='"train"', images="", prompt='"{word} {choices}"')


def signs_folder(tmp_path: Path) -> Path:
    """Three train and two test records as JSON Lines, each with its own picture."""
    (tmp_path / "photos").mkdir()
    for number in range(5):
        (tmp_path / f"photos/{number}.png").write_bytes(png(number))
    rows = [{"photo": f"photos/{number}.png", "label": ("cat", "dog")[number % 2]} for number in range(5)]
    for split, part in (("train", rows[:3]), ("test", rows[3:])):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    return tmp_path


def write_rows(folder: Path, name: str, rows: list[dict[str, object]]) -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def records(folder: Path, split: str = "train"):
    return list(FolderSource(str(folder)).records("Signs-0", split))
