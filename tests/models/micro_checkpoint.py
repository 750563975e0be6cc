"""A micro LLaVA checkpoint and records of one to three pictures."""

import io
from pathlib import Path

import torch
from PIL import Image

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


def written(family: str, path: Path) -> Path:
    """A checkpoint of two layers with random weights, as its folder."""
    tokenizer = new_tokenizer(family, TEXTS)
    new_processor(family, tokenizer).save_pretrained(path)
    new_model(Shape(family, layers=2, width=16, feed_forward=32), tokenizer, seed=0).save_pretrained(path)
    return path
