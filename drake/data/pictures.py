"""The pictures of records: from stored bytes to decoded images, with clear errors. `backbones` calls this."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from drake.errors import DrakeError
from drake.models.prompts import Record


def image_bytes(record: Record) -> list[bytes]:
    """The encoded pictures of a record; a dataset's undecoded rows hold {"bytes", "path"}."""
    found = []
    for image in record["images"]:
        data = image if isinstance(image, bytes) else image.get("bytes")
        if data is None:
            path = Path(image["path"])
            if not path.is_file():
                raise DrakeError(
                    f"record {record['id']!r}: there is no picture {path}; restore it or build the dataset again."
                )
            data = path.read_bytes()
        found.append(data)
    return found


def decoded(data: bytes) -> Image.Image:
    """The picture in RGB; DrakeError for bytes that are none, and for pictures beyond Pillow's limit of pixels."""
    try:
        return Image.open(io.BytesIO(data)).convert("RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError) as error:
        raise DrakeError(f"a picture cannot be read ({error}).") from error


def first_unreadable(records: Sequence[Record], images: list[list[bytes]]) -> str:
    """Where the broken picture of a batch is, for the error's sentence."""
    for record, row in zip(records, images, strict=True):
        for index, data in enumerate(row):
            try:
                decoded(data)
            except DrakeError:
                return f"record {record['id']!r}, picture {index}"
    return "no record of this batch any more"
