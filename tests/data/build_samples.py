"""Small records and a small release on disk, made by hand for the tests of this room."""

import io
import json
import tarfile
from pathlib import Path

from PIL import Image

from drake.data.record import Record


def png(colour: int, size: int = 6) -> bytes:
    """An encoded picture that is unlike that of any other colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (colour % 256, colour // 256, 77)).save(buffer, "PNG")
    return buffer.getvalue()


def record(task: str, split: str, number: int, images: int = 2) -> Record:
    """A record of a two-choice task."""
    return Record(
        id=f"{task}/{split}/{number:06d}",
        task=task,
        source=task.rpartition("-")[0] or task,
        category="Visual Relation",
        images=tuple(png(number * 7 + place) for place in range(images)),
        prompt="<image>" * images + f"\nIs {number} shown?\nChoice list:[Yes, No]. Your answer is:",
        choices=("Yes", "No"),
        answer=("Yes", "No")[number % 2],
        metric="accuracy",
    )


class Release:
    """A release in the making: one dataset, Pets, with one task of two train records and one test record."""

    def __init__(self, folder: Path):
        self.folder = folder
        (self.dataset / "Pets" / "images").mkdir(parents=True)
        for number in range(3):
            self.picture(f"{number}.png").write_bytes(png(number))
        self.write("train", [self.row(0), self.row(1, 2)])
        self.write("test", [self.row(2)])

    @property
    def dataset(self) -> Path:
        return self.folder / "dataset"

    def picture(self, name: str) -> Path:
        return self.dataset / "Pets" / "images" / name

    def file(self, split: str, task: str = "Pets-0") -> Path:
        name, _, number = task.rpartition("-")
        return self.dataset / name / split / f"dataset-{number}.json"

    def row(self, *numbers: int, question: str = "Who is it?\nChoice list:[cat, dog]. Your answer is:") -> dict:
        paths = [f"dataset/Pets/images/{number}.png" for number in numbers]
        return {
            "id": "0",
            "image": paths[0] if len(paths) == 1 else paths,
            "conversations": [
                {"from": "human", "value": "<image>" * len(paths) + "\n" + question},
                {"from": "gpt", "value": "cat"},
            ],
        }

    def write(self, split: str, rows: object, task: str = "Pets-0") -> Path:
        file = self.file(split, task)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(rows if isinstance(rows, str) else json.dumps(rows))
        return file

    def archives(self, folder: Path, prefix: str = "") -> Path:
        """The same release as archives with the official names, one for each data set; returns their folder."""
        folder.mkdir()
        for source in sorted(self.dataset.iterdir()):
            with tarfile.open(folder / f"{source.name}.tar", "w") as tar:
                tar.add(source, f"{prefix}{source.name}")
        return folder


def larger_release(folder: Path) -> Release:
    """Three data sets: Pets and Cars with one task each, Maps with two, whose second has no train records."""
    release = Release(folder)
    for name, tasks in (("Cars", 1), ("Maps", 2)):
        images = release.dataset / name / "full" / "images"
        images.mkdir(parents=True)
        for number in range(8):
            (images / f"{number}.png").write_bytes(png(100 + number, size=40))
        rows = []
        for number in range(7):
            row = release.row(0)
            row["image"] = [f"dataset/{name}/full/images/{number + place}.png" for place in range(2)]
            row["conversations"][0]["value"] = "<image><image>\nWho?\nChoice list:[cat, dog]. Your answer is:"
            rows.append(row)
        for task in range(tasks):
            if task == 0:
                release.write("train", rows[:5], f"{name}-{task}")
            release.write("test", rows[5:], f"{name}-{task}")
    return release


SIZES = {"train": 12, "test": 4, "public_per_world": 2, "workers": 1}


def replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)
