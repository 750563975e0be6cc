"""A tiny fine-tuning mix in the layout of LLaVA-1.5's, made by hand."""

import json
from pathlib import Path

from build_samples import png

PICTURES = (
    "coco/train2017/000000000001.jpg",
    "gqa/images/2.jpg",
    "ocr_vqa/images/3.jpg",
    "textvqa/train_images/4.jpg",
    "vg/VG_100K/5.jpg",
    "vg/VG_100K_2/6.jpg",
)
"""One picture in each of the official folders."""


def turns(*texts: str, first: str = "human") -> list[dict]:
    speakers = ("human", "gpt") if first == "human" else ("gpt", "human")
    return [{"from": speakers[number % 2], "value": text} for number, text in enumerate(texts)]


def mix(folder: Path, repeat: int = 1, name: str = "llava_v1_5_mix665k.json") -> Path:
    """Six records with a picture each and two turns, one of text alone that begins with the answer of another turn, one
    without an answer; all of them `repeat` times. Returns the folder."""
    rows = [
        {
            "id": str(number),
            "image": picture,
            "conversations": turns(f"<image>\nWhat is {number}?", f"it is {number}", "And then?", "nothing"),
        }
        for number, picture in enumerate(PICTURES)
    ]
    rows.append({"id": "text", "model": "", "conversations": turns("Hello.", "Name a fish.", "Pike.", first="gpt")})
    rows.append({"id": "mute", "conversations": turns("Are you there?", " ")})
    for number, picture in enumerate(PICTURES):
        path = folder / picture
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    (folder / name).write_text(json.dumps(rows * repeat, ensure_ascii=False))
    return folder
