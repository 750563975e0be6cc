"""Folders of raw data sets for tests: the annotations of tests/fixtures/raw, with a drawn picture for every name.

IRFL, MagicBrush and DreamSim have rows of our own in the published formats. Names of pictures are read from the files
here without the readers under test.
"""

import csv
import json
import shutil
import zlib
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from build_samples import png

from drake.data.sources.raw.source import RawSource

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
RAW = FIXTURES / "raw"
LAYOUT = {
    "NLVR2": {"dev.json": "nlvr2/dev.sample.jsonl", "test1.json": "nlvr2/test1.sample.jsonl"},
    "NLVR": {"dev.json": "nlvr1/dev.sample.jsonl"},
    "VSR": {f"{part}.jsonl": f"vsr/zeroshot.{part}.sample.jsonl" for part in ("train", "dev", "test")},
    "CIRR": {
        "captions/cap.rc2.val.json": "cirr/cap.rc2.val.sample.json",
        "image_splits/split.rc2.val.json": "cirr/split.rc2.val.sample.json",
    },
    "imagecode": {"valid_data.json": "imagecode/valid_data.sample.json"},
    "COMICS_Dialogue": {"folds/text_cloze_dev_easy.csv": "comics/text_cloze_dev_easy.sample.csv"},
    "WCVQA": {
        f"small_eval_task{task}/en_small_eval.jsonl": f"worldcuisines/en_small_eval_task{task}.sample.jsonl"
        for task in (1, 2)
    },
    "Mantis_contrastive_caption": {"train.json": "mantis/chat.train.sample.json"},
    "AQUA": {"test.json": "aqua/test.sample.json"},
}
OWN = ("IRFL", "MagicBrush", "DreamSim")
ALL = (*LAYOUT, *OWN)


def raw_folder(root: Path, *names: str) -> Path:
    """A folder with these data sets."""
    for name in names:
        for target, fixture in LAYOUT.get(name, {}).items():
            (root / name / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(RAW / fixture, root / name / target)
        if name in OWN:
            {"IRFL": _irfl, "MagicBrush": _magicbrush, "DreamSim": _dreamsim}[name](root / name)
        elif name == "NLVR":
            shutil.copytree(FIXTURES / "release_layout/dataset/NLVR2/images", root / "NLVR/images")
        else:
            for picture in pictures(root / name):
                draw(root / name / picture)
        if name == "Mantis_contrastive_caption":
            _mantis(root / name)
    return root


def drawn(name: str) -> bytes:
    """The picture that is drawn for a file of this name."""
    return png(zlib.crc32(name.encode()) % 65536)


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(drawn(path.name if path.parent.name.startswith("image") else f"{path.parent.name}/{path.name}"))


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def pictures(folder: Path) -> list[str]:
    """The names of all pictures of a data set."""
    found = {
        "NLVR2": lambda: [
            f"images/{r['identifier'].split('-')[0]}/{r['identifier'].rpartition('-')[0]}-img{place}.png"
            for name in ("dev.json", "test1.json")
            for r in lines(folder / name)
            for place in (0, 1)
        ],
        "VSR": lambda: [
            f"images/{r['image']}" for part in ("train", "dev", "test") for r in lines(folder / f"{part}.jsonl")
        ],
        "CIRR": lambda: [
            f"images/{place[2:]}"
            for place in json.loads((folder / "image_splits/split.rc2.val.json").read_text()).values()
        ],
        "imagecode": lambda: [
            f"image-sets/{name}/img{number}.jpg"
            for name in json.loads((folder / "valid_data.json").read_text())
            for number in range(10)
        ],
        "COMICS_Dialogue": lambda: [
            f"raw_panel_images/{r['book_id']}/{r['page_id']}_{r[f'context_panel_{place}_id']}.jpg"
            for r in csv.DictReader((folder / "folds/text_cloze_dev_easy.csv").open())
            for place in range(3)
        ],
        "WCVQA": lambda: [
            "images/" + unquote(r["image_url"].partition("?")[0].rpartition("/")[2])
            for path in folder.rglob("*.jsonl")
            for r in lines(path)
        ],
        "Mantis_contrastive_caption": lambda: [
            path for r in json.loads((folder / "train.json").read_text()) for path in r["images"]
        ],
        "AQUA": lambda: [f"images/{r['image']}" for r in json.loads((folder / "test.json").read_text())],
    }
    return found[folder.name]()


def _mantis(folder: Path) -> None:
    """Ten rows in the form of Mantis-Instruct's contrastive captions, beside the chat of the fixture: of nine, one
    after another of two to four pictures, the answer names one; that of the tenth names none."""
    rows = []
    for number in range(10):
        images = [{"bytes": None, "path": f"LaionGPT4V_images/{number}{place}.jpg"} for place in range(2 + number % 3)]
        for image in images:
            draw(folder / "train_images" / image["path"])
        answer = ("Image 1", "It is the second image.", "image 2", "None.")[3 if number == 9 else number % 3]
        question = "<image> " * len(images) + f"Which image is meant?\nPicture {number}, a box."
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        rows.append({"id": f"x-{number}", "images": images, "conversation": turns, "source": "contrastive_caption"})
    pq.write_table(pa.Table.from_pylist(rows), folder / "train-00000-of-00001.parquet")


def _irfl(folder: Path) -> None:
    """Ten phrases of each kind, with three figurative pictures and one literal."""
    number = 0
    folder.mkdir(parents=True)
    for kind in ("idiom", "metaphor", "simile"):
        rows = []
        for phrase in range(10):
            for category in ("Figurative", "Figurative", "Figurative+Literal", "Partial Literal", "None"):
                row = {"uuid": f"{number:08x}", "phrase": f"{kind} number {phrase}", "category": category}
                rows.append(row | ({"definition": f"['meaning {phrase}.', 'another']"} if kind == "idiom" else {}))
                draw(folder / "images" / f"{number:08x}.jpeg")
                number += 1
        with (folder / f"{kind}s_dataset.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _magicbrush(folder: Path) -> None:
    """Twelve turns of train in two row groups, four of dev."""
    (folder / "data").mkdir(parents=True)
    for part, count in (("train", 12), ("dev", 4)):
        rows = [
            {
                "img_id": f"{part}{number // 2}",
                "turn_index": number % 2 + 1,
                "source_img": {"bytes": drawn(f"{part} {number} source"), "path": "a.png"},
                "mask_img": {"bytes": drawn("mask"), "path": "b.png"},
                "instruction": f"add {number} birds",
                "target_img": {"bytes": drawn(f"{part} {number} target"), "path": "c.png"},
            }
            for number in range(count)
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"data/{part}-00000-of-00001.parquet", row_group_size=5)


def _dreamsim(folder: Path) -> None:
    """Ten triplets: six of train, one of val, two of test, and one with equal votes."""
    rows = []
    for number in range(10):
        paths = {
            "ref": f"ref/000/{number}.png",
            "left": f"distort/000/{number}_0.png",
            "right": f"distort/000/{number}_1.png",
        }
        for path in paths.values():
            draw(folder / path)
        votes = (5, 5) if number == 9 else (number % 2, 1 - number % 2)
        rows.append(
            {"id": number}
            | {f"{name}_path": path for name, path in paths.items()}
            | {"left_vote": votes[0], "right_vote": votes[1], "prompt": "x"}
            | {"split": "train" if number < 6 else "val" if number == 6 else "test"}
        )
    with (folder / "data.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def found(folder, task, split, seed=0, **options):
    return list(RawSource(str(folder), seed=seed, tasks=task, **options).records(task, split))


def by_text(records, text):
    (record,) = [record for record in records if text in record.prompt]
    return record
