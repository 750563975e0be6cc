"""How a picture is made square before a checkpoint's own processor resizes it. `drake.models.backbone` calls it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from drake.models import checkpoint_files

Colour = tuple[int, int, int]

LONGEST_SIDE = 8192
"""Pixels. A longer picture is scaled down before it is padded: the square of 100,000 x 500 pixels would take 30 GB.
Towers see a few hundred pixels."""


def pad_to_square(picture: Image.Image, colour: Colour) -> Image.Image:
    """The picture in the middle of a square of the colour, as LLaVA's training code does it; a square one as it is."""
    width, height = picture.size
    if width == height:
        return picture
    if max(width, height) > LONGEST_SIDE:
        scale = LONGEST_SIDE / max(width, height)
        width, height = (max(1, round(length * scale)) for length in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    side = max(width, height)
    square = Image.new(picture.mode, (side, side), colour)
    square.paste(picture, ((side - width) // 2, (side - height) // 2))
    return square


def mean_colour(image_processor: Any) -> Colour:
    """The mean that the processor subtracts, as a colour: (122, 116, 104) for CLIP's."""
    mean = getattr(image_processor, "image_mean", None) or (0.0, 0.0, 0.0)
    values = list(mean) if isinstance(mean, list | tuple) else [mean] * 3
    red, green, blue = (int(255 * value) for value in values)
    return red, green, blue


def says_pad(folder: Path, image_processor: Any) -> bool:
    """Whether a checkpoint wants its pictures padded to a square: `image_aspect_ratio` "pad" in one of its files, as
    LLaVA's training code writes it, or `do_pad` of its processor."""
    files = [checkpoint_files.settings(folder, name) for name in ("config.json", "preprocessor_config.json")]
    processor = checkpoint_files.settings(folder, "processor_config.json")
    files += [processor, processor.get("image_processor") or {}]
    named = any(isinstance(part, dict) and part.get("image_aspect_ratio") == "pad" for part in files)
    return named or bool(getattr(image_processor, "do_pad", False))
