"""The decoder of pictures: encoded bytes -> upright RGB. All code of drake that reads pictures calls this.

    PNG, JPEG, WebP, GIF, BMP, TIFF    by their content, never by a file's name; of several frames the first
    orientation (EXIF)                 applied, as `datasets` does
    transparency                       composited on white
    16-bit greyscale                   its eight high bits, as Pillow takes them of 16-bit colour
    floating point (TIFF)              values from 0 to 1 times 255; other ranges are refused

Pictures are untrusted input: no other format is opened (Pillow's reader of EPS starts a program), sizes are checked
before anything is decoded, and no file is read because a record names its path.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from drake.errors import DrakeError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""The formats that Pillow may try."""
MOST_BYTES = 256 << 20
"""Upper limit for the size of an encoded picture."""
MOST_PIXELS = 64_000_000
"""Upper limit of width times height; decoded, such a picture takes about 200 MB."""
MOST_ELONGATED = 200
"""Upper limit of the longer side over the shorter. A picture of 1 x 100,000 pixels is small, but image processors scale
the shorter side to some hundred pixels, and the longer one with it."""
DECODING = 1
"""The version of the decoder, raised when it decodes some bytes to other pixels: caches of features depend on it."""

ALLOWED = "it must be PNG, JPEG, WebP, GIF, BMP or TIFF"
SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"%PDF-": "PDF",
    b"%!PS": "EPS (PostScript)",
    b"\xc5\xd0\xd3\xc6": "EPS (PostScript)",
    b"8BPS": "Photoshop (PSD)",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\1\0": "ICO",
    b"PK\3\4": "ZIP",
    b"\x1f\x8b": "gzip",
    b"<svg": "SVG",
    b"<?xml": "XML or SVG",
}
"""First bytes -> format, for error messages about files that cannot be read."""
BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC"}
"""The same for ISO media files, whose brand follows `ftyp`."""

_quiet = threading.Lock()  # warning filters are global to the process, and several threads make batches


def image_bytes(record: Mapping[str, Any]) -> list[bytes]:
    """The encoded pictures of a record, given as bytes or as the {"bytes", "path"} of a dataset's undecoded rows.

    Raises DrakeError for a picture that is given by its path only.
    """
    found: list[bytes] = []
    for index, image in enumerate(record["images"]):
        data = image.get("bytes") if isinstance(image, Mapping) else image
        if not isinstance(data, bytes):
            named = image.get("path") if isinstance(image, Mapping) else type(image).__name__
            raise DrakeError(
                f"record {record['id']!r}, picture {index}: {named!r} stands where the picture's bytes belong; files "
                "that a record names are not read, so build the dataset again with the bytes in it."
            )
        found.append(data)
    return found


def decoded_images(record: Mapping[str, Any]) -> list[Image.Image]:
    """The pictures of a record, decoded; DrakeErrors name the record and the picture."""
    images = image_bytes(record)
    try:
        return [decoded(data) for data in images]
    except DrakeError as error:
        raise DrakeError(f"{first_unreadable([record], [images])}: {error}") from error


def decoded(data: bytes) -> Image.Image:
    """An encoded picture as pixels [height, width, 3], upright, 8 bits per channel.

    Raises DrakeError for another format, for a truncated or damaged file, and for a picture above `MOST_BYTES`,
    `MOST_PIXELS` or `MOST_ELONGATED`; the last two are read from the header, before a pixel is decoded.
    """
    if not data:
        raise DrakeError(f"the picture is empty (0 bytes); {ALLOWED}.")
    if len(data) > MOST_BYTES:
        raise DrakeError(f"the picture has {len(data):,} bytes, more than {MOST_BYTES:,}; make it smaller.")
    try:
        with _quiet, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about metadata and sizes
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_size(*image.size)
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                return _rgb(image)
    except DrakeError:
        raise
    except Image.DecompressionBombError as error:
        raise DrakeError(f"the picture has too many pixels ({str(error).split(',')[0]}); make it smaller.") from error
    except UnidentifiedImageError as error:
        raise DrakeError(_unidentified(data)) from error
    except Exception as error:  # decoders raise errors of any kind for damaged bytes
        raise DrakeError(_damaged(data, error)) from error


def seems_whole(data: bytes) -> bool:
    """Whether a PNG or JPEG begins with a sound header and ends as its format does, so that it was not cut off. Nothing
    is decoded.

    False for other formats and where it cannot be seen; `decoded` is the judge of these. Raises DrakeError for a
    picture that is too large.
    """
    size = _header_size(data)
    if size is None or len(data) > MOST_BYTES:
        return False
    _check_size(*size)
    return data.endswith(b"IEND\xaeB`\x82" if data.startswith(b"\x89") else b"\xff\xd9")


def _header_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) according to the header of a PNG or JPEG; None for others and for what cannot be read."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
        width, height = struct.unpack_from(">II", data, 16) if len(data) > 24 else (0, 0)
        return (width, height) if width and height else None
    at = 2
    while data.startswith(b"\xff\xd8") and at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = struct.unpack_from(">HH", data, at + 5)
            return (width, height) if width and height else None
        if length < 2 or not 0xC4 <= marker <= 0xFE or marker == 0xDA:  # a scan before its frame, or no segment
            return None
        at += 2 + length
    return None


def first_unreadable(records: Sequence[Mapping[str, Any]], images: list[list[bytes]]) -> str:
    """The record and the index of a batch's first picture that cannot be decoded, for error messages."""
    for record, row in zip(records, images, strict=True):
        for index, data in enumerate(row):
            try:
                decoded(data)
            except DrakeError:
                return f"record {record['id']!r}, picture {index}"
    return "no record of this batch any more"


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise DrakeError(
            f"the picture has too many pixels ({width} x {height}, more than {MOST_PIXELS:,}); make it smaller."
        )
    if max(width, height) > MOST_ELONGATED * min(width, height):
        raise DrakeError(
            f"the picture is too long for its width ({width} x {height} pixels, more than {MOST_ELONGATED} to 1); "
            "crop it."
        )


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return _from_16_bits(image)
    if image.mode == "F":
        values = np.asarray(image)
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):  # neither do nan
            raise DrakeError(
                f"the picture has floating point values from {low:g} to {high:g}, without a defined black and white; "
                "store values from 0 to 1, or 8 bits."
            )
        return Image.fromarray(np.rint(255 * values).astype(np.uint8)).convert("RGB")
    if image.mode == "I":
        raise DrakeError("the picture has 32-bit integers, without a defined white; store it with 8 or 16 bits.")
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(opaque, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    grey = (values >> 8).astype(np.uint8)
    transparent = image.info.get("transparency")
    if transparent is not None:
        grey[values == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _format(data: bytes) -> str | None:
    """The format according to the first bytes; None if it is not one of those above."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        return BRANDS.get(data[8:12], "video or ISO media")
    text = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n")
    return next((name for start, name in SIGNATURES.items() if data.startswith(start) or text.startswith(start)), None)


def _unidentified(data: bytes) -> str:
    """The error message for bytes that none of the allowed formats matches."""
    if data.startswith(b"version https://git-lfs"):
        return f"the picture is a Git LFS pointer, not the file it stands for (`git lfs pull` fetches that); {ALLOWED}."
    text = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return f"the picture is an HTML page, as servers send in place of a file; {ALLOWED}."
    found = _format(data)
    if found is not None and found.upper() in FORMATS:
        return _damaged(data, "no header")
    return f"the picture is {found or f'of no known format (it begins with {data[:8]!r})'}; {ALLOWED}."


def _damaged(data: bytes, why: object) -> str:
    return f"the picture is a {_format(data) or 'file'} that is cut off or damaged ({why}); fetch it again."
