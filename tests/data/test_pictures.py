"""Pictures from anywhere become upright RGB, or one sentence that says what they are; nothing else is opened."""

import io
import re
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from datasets import Image as DatasetsImage
from PIL import ExifTags, Image, ImageFile

from drake.data import pictures
from drake.data.benchmark import load
from drake.data.pictures import decoded, decoded_images, image_bytes, seems_whole
from drake.errors import DrakeError

RED, GREEN, BLUE, BLACK, WHITE = (254, 0, 0), (0, 128, 1), (0, 0, 255), (0, 0, 0), (255, 255, 255)


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def encoded(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> list[list[tuple[int, ...]]]:
    image = decoded(data)
    assert image.mode == "RGB"
    return [[tuple(pixel) for pixel in row] for row in np.asarray(image).tolist()]


def png(width: int, height: int, depth: int, colour: int, rows: bytes, more: bytes = b"") -> bytes:
    """A PNG by hand. colour: 0 grey, 2 RGB, 4 grey and alpha. more: chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


SMALL = Image.new("RGB", (3, 2))
SMALL.putdata([RED, GREEN, BLUE, WHITE, BLACK, RED])


# ---------------------------------------------------------------------------------------------------------------------
# What is read


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF"])
def test_lossless_formats_keep_every_pixel(format):
    assert pixels(encoded(SMALL, format)) == [[RED, GREEN, BLUE], [WHITE, BLACK, RED]]


def test_webp_keeps_every_pixel_where_it_is_lossless():
    assert pixels(encoded(SMALL, "WEBP", lossless=True)) == [[RED, GREEN, BLUE], [WHITE, BLACK, RED]]


def test_jpeg_is_read_as_pillow_reads_it():
    data = encoded(Image.effect_noise((40, 30), 90).convert("RGB"), "JPEG", quality=80)
    assert np.array_equal(np.asarray(decoded(data)), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_the_mini_suite_has_the_pixels_it_had(micro_data):
    data = load(micro_data)
    records = [data.records(task, split)[0] for task in data.tasks for split in ("train", "test")]
    records += list(data.public.select(range(20)))
    assert len(records) == 2 * 47 + 20
    for record in records:
        for image, found in zip(record["images"], decoded_images(record), strict=True):
            before = Image.open(io.BytesIO(image["bytes"]))
            assert before.mode == found.mode == "RGB"
            assert before.tobytes() == found.tobytes()


TURNED = {
    1: [[RED, GREEN, BLUE], [WHITE, BLACK, RED]],
    2: [[BLUE, GREEN, RED], [RED, BLACK, WHITE]],
    3: [[RED, BLACK, WHITE], [BLUE, GREEN, RED]],
    4: [[WHITE, BLACK, RED], [RED, GREEN, BLUE]],
    5: [[RED, WHITE], [GREEN, BLACK], [BLUE, RED]],
    6: [[WHITE, RED], [BLACK, GREEN], [RED, BLUE]],
    7: [[RED, BLUE], [BLACK, GREEN], [WHITE, RED]],
    8: [[BLUE, RED], [GREEN, BLACK], [RED, WHITE]],
}
"""EXIF orientation -> what `SMALL` is to be shown as (row 0 and column 0 stand where the EXIF standard says)."""


@pytest.mark.parametrize(
    ("format", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})], ids=["png", "tiff", "webp"]
)
@pytest.mark.parametrize("orientation", TURNED)
def test_the_orientation_is_applied(format, options, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    assert pixels(encoded(SMALL, format, exif=exif, **options)) == TURNED[orientation]


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_turned_photograph_is_what_datasets_shows(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    photograph = Image.linear_gradient("L").resize((40, 24)).convert("RGB")
    data = encoded(photograph, "JPEG", exif=exif, quality=95)
    shown = DatasetsImage().decode_example({"bytes": data, "path": None})
    assert shown.size == ((40, 24) if orientation == 3 else (24, 40))
    assert np.array_equal(np.asarray(decoded(data)), np.asarray(shown))
    corner = decoded(data).getpixel((0, 0))[0]  # as stored, the gradient is black above and white below
    assert {3: corner > 200, 6: corner > 200, 8: corner < 60}[orientation]


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_high_bits(format):
    grey = Image.fromarray(np.array([[0, 255, 256, 0x1234], [0x7FFF, 0x8000, 0xFF00, 0xFFFF]], dtype=np.uint16))
    values = [[0, 0, 1, 0x12], [0x7F, 0x80, 0xFF, 0xFF]]
    assert pixels(encoded(grey, format)) == [[(value,) * 3 for value in row] for row in values]


def test_16_bit_tiff_of_the_other_byte_order():
    entries = [
        (256, 4, 2),
        (257, 4, 1),
        (258, 3, 16),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 110),
        (278, 4, 1),
        (279, 4, 4),
    ]
    packed = b"".join(
        struct.pack(">HHI", tag, kind, 1) + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
        for tag, kind, value in entries
    )
    data = b"MM\0*\0\0\0\x08" + struct.pack(">H", len(entries)) + packed + b"\0\0\0\0" + b"\0\0\0\0"
    assert len(data) == 114
    assert pixels(data[:110] + b"\x12\x34\xab\xcd") == [[(0x12,) * 3, (0xAB,) * 3]]


def test_16_bit_colour_and_grey_with_alpha_keep_their_high_bits():
    colour = b"\0" + struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 0xFFFF, 0, 0x00FF)
    assert pixels(png(2, 1, 16, 2, colour)) == [[(0x12, 0x56, 0x9A), (255, 0, 0)]]
    alpha = b"\0" + struct.pack(">4H", 0x1200, 0xFFFF, 0x1200, 0)
    assert pixels(png(2, 1, 16, 4, alpha)) == [[(0x12,) * 3, WHITE]]


def test_16_bit_grey_with_a_transparent_value():
    rows = b"\0" + struct.pack(">3H", 0x1200, 0x1201, 0x4400)
    data = png(3, 1, 16, 0, rows, chunk(b"tRNS", struct.pack(">H", 0x1201)))
    assert pixels(data) == [[(0x12,) * 3, WHITE, (0x44,) * 3]]


def test_float_tiff_from_0_to_1_is_scaled():
    values = Image.fromarray(np.array([[0, 0.25, 0.5, 1]], dtype=np.float32))
    assert pixels(encoded(values, "TIFF")) == [[(value,) * 3 for value in (0, 64, 128, 255)]]


@pytest.mark.parametrize("wrong", [1.5, -0.1, 255.0, float("nan"), float("inf")])
def test_float_tiff_of_another_range_is_refused(wrong):
    data = encoded(Image.fromarray(np.array([[0, wrong]], dtype=np.float32)), "TIFF")
    with pytest.raises(DrakeError, match=r"floating point values from .*; store values from 0 to 1, or 8 bits\.$"):
        decoded(data)


def test_32_bit_whole_numbers_are_refused():
    data = encoded(Image.fromarray(np.array([[0, 70_000]], dtype=np.int32)), "TIFF")
    with pytest.raises(DrakeError, match=r"32-bit integers.*8 or 16 bits\.$"):
        decoded(data)


def test_what_is_transparent_stands_on_white():
    drawing = Image.new("RGBA", (3, 1))
    drawing.putdata([(0, 0, 0, 255), (0, 0, 0, 0), (200, 0, 0, 51)])
    assert pixels(encoded(drawing, "PNG")) == [[BLACK, WHITE, (244, 204, 204)]]
    assert pixels(encoded(drawing.convert("LA"), "PNG"))[0][:2] == [BLACK, WHITE]
    assert pixels(encoded(drawing, "WEBP", lossless=True, exact=True)) == [[BLACK, WHITE, (244, 204, 204)]]


def test_opaque_alpha_changes_no_pixel():
    colours = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    opaque = np.dstack([colours, np.full((64, 64), 255, np.uint8)])
    assert np.array_equal(np.asarray(decoded(encoded(Image.fromarray(opaque), "PNG"))), colours)


@pytest.mark.parametrize(
    ("format", "transparency"),
    [("PNG", 1), ("GIF", 1), ("PNG", b"\xff\x00\x66")],
    ids=["one entry of PNG", "one entry of GIF", "alpha of every entry"],
)
def test_a_palette_with_transparency_stands_on_white(format, transparency):
    image = Image.new("P", (3, 1))
    image.putpalette([*BLACK, *RED, 0, 0, 250])
    image.putdata([0, 1, 2])
    last = (0, 0, 250) if transparency == 1 else (153, 153, 253)
    assert pixels(encoded(image, format, transparency=transparency)) == [[BLACK, WHITE, last]]


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK"])
def test_other_modes_are_what_pillow_makes_of_them(mode):
    image = SMALL.convert(mode)
    format = "TIFF" if mode == "CMYK" else "PNG"
    expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(np.asarray(decoded(encoded(image, format))), expected)


def test_of_several_frames_the_first_is_read():
    frames = [Image.new("RGB", (2, 2), colour) for colour in (BLUE, RED)]
    for format in ("GIF", "TIFF", "PNG"):
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
        assert pixels(data) == [[BLUE] * 2] * 2


# ---------------------------------------------------------------------------------------------------------------------
# What is refused

EPS = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"
    b"(%pipe%touch started-by-a-picture) (w) file\nshowpage\n%%EOF\n"
)
DOS_EPS = b"\xc5\xd0\xd3\xc6" + struct.pack("<6IH", 30, len(EPS), 0, 0, 0, 0, 0xFFFF) + EPS
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
HTML = b"\n<!DOCTYPE html>\n<html><body>404: not found</body></html>"
ALLOWED = "it must be PNG, JPEG, WebP, GIF, BMP or TIFF."
NOISE = Image.effect_noise((64, 64), 90).convert("RGB")
WRONG = {
    "empty": (b"", f"the picture is empty (0 bytes); {ALLOWED}"),
    "eps": (EPS, f"the picture is EPS (PostScript); {ALLOWED}"),
    "eps with a preview": (DOS_EPS, f"the picture is EPS (PostScript); {ALLOWED}"),
    "pdf": (b"%PDF-1.4\n%", f"the picture is PDF; {ALLOWED}"),
    "git lfs": (
        LFS,
        f"the picture is a Git LFS pointer, not the file it stands for (`git lfs pull` fetches that); {ALLOWED}",
    ),
    "html": (HTML, f"the picture is an HTML page, as servers send in place of a file; {ALLOWED}"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', f"the picture is SVG; {ALLOWED}"),
    "avif": (b"\0\0\0\x1cftypavif\0\0\0\0mif1miaf", f"the picture is AVIF; {ALLOWED}"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", f"the picture is HEIC; {ALLOWED}"),
    "ppm": (b"P6 1 1 255\n\0\0\0", f"the picture is of no known format (it begins with b'P6 1 1 2'); {ALLOWED}"),
    "text": (b"no picture", f"the picture is of no known format (it begins with b'no pictu'); {ALLOWED}"),
    "signature only": (
        encoded(NOISE, "PNG")[:8],
        "the picture is a PNG that is cut off or damaged (no header); fetch it again.",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_sentence_says_what_the_file_is(wrong):
    data, sentence = WRONG[wrong]
    with pytest.raises(DrakeError) as caught:
        decoded(data)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP"])
def test_half_a_file_is_said_to_be_cut_off(format):
    data = encoded(NOISE, format)
    name = "WebP" if format == "WEBP" else format
    with pytest.raises(DrakeError, match=rf"^the picture .*{name}.* cut off or damaged.*; fetch it again\.$"):
        decoded(data[: len(data) // 2])


def test_no_other_reader_of_pillow_is_tried(monkeypatch, tmp_path):
    """Formats that Pillow could open, given as what they are: EPS would start Ghostscript."""
    monkeypatch.chdir(tmp_path)
    Image.init()
    opened = []
    for name, (_, accepts) in list(Image.OPEN.items()):
        if name not in pictures.FORMATS:
            spy = lambda *arguments, name=name: opened.append(name)  # noqa: E731
            monkeypatch.setitem(Image.OPEN, name, (spy, accepts))
    for data in (EPS, DOS_EPS, b"P6 1 1 255\n\0\0\0", encoded(SMALL, "ICO", sizes=[(3, 2)]), encoded(SMALL, "PCX")):
        with pytest.raises(DrakeError, match=re.escape(ALLOWED)):
            decoded(data)
    assert opened == []
    assert list(tmp_path.iterdir()) == []


def test_no_other_module_opens_pictures():
    root = Path(pictures.__file__).parents[2]
    folders = ("drake", "methods", "baselines", "leaderboard", "benchmarks", "experiments")
    sources = [path for folder in folders for path in (root / folder).rglob("*.py")]
    assert len(sources) > 100
    found = [path.relative_to(root).as_posix() for path in sources if "Image.open" in path.read_text("utf-8")]
    assert found == ["drake/data/pictures.py"]


def test_an_enormous_picture_is_refused_before_it_is_decoded(monkeypatch):
    """169 megapixels in some kilobytes."""
    row = b"\0" + bytes(13_000 // 8)
    data = png(13_000, 13_000, 1, 0, row * 13_000)
    assert len(data) < 100_000
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("pixels were decoded"))
    sentence = "the picture has too many pixels (13000 x 13000, more than 64,000,000); make it smaller."
    with pytest.raises(DrakeError, match=f"^{re.escape(sentence)}$"):
        decoded(data)


@pytest.mark.parametrize(("width", "height"), [(8001, 8000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_a_header_of_too_many_pixels_is_enough(width, height):
    with pytest.raises(DrakeError, match=r"^the picture has too many pixels \(.*\); make it smaller\.$"):
        decoded(png(width, height, 1, 0, b""))


def test_the_largest_picture_is_read():
    assert decoded(png(8000, 8000, 1, 0, (b"\0" + bytes(1000)) * 8000)).size == (8000, 8000)


def test_a_picture_that_is_nearly_a_line_is_refused():
    """A processor that scales the shorter side to 336 pixels would make gigabytes of it."""
    assert decoded(encoded(Image.new("L", (200, 1)), "PNG")).size == (200, 1)
    for size in ((201, 1), (1, 100_000)):
        sentence = f"too long for its width ({size[0]} x {size[1]} pixels, more than 200 to 1); crop it."
        with pytest.raises(DrakeError, match=re.escape(sentence)):
            decoded(encoded(Image.new("L", size), "PNG"))


def test_a_file_of_too_many_bytes_is_refused(monkeypatch):
    data = encoded(NOISE, "PNG")
    monkeypatch.setattr(pictures, "MOST_BYTES", len(data) - 1)
    with pytest.raises(DrakeError, match=f"the picture has {len(data):,} bytes, more than {len(data) - 1:,}"):
        decoded(data)


# ---------------------------------------------------------------------------------------------------------------------
# Records


def test_records_hold_bytes_as_such_or_as_rows_of_a_dataset():
    record = {"id": "r/1", "images": [b"one", {"bytes": b"two", "path": None}, {"bytes": b"three", "path": "x.png"}]}
    assert image_bytes(record) == [b"one", b"two", b"three"]


def test_a_file_that_a_record_names_is_not_read(tmp_path, monkeypatch):
    file = tmp_path / "secret.png"
    file.write_bytes(encoded(SMALL, "PNG"))
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("the file was read"))
    for image in ({"bytes": None, "path": str(file)}, {"path": str(file)}):
        with pytest.raises(DrakeError, match=r"record 'r/1', picture 1: '.*secret\.png' stands where .* bytes belong"):
            image_bytes({"id": "r/1", "images": [b"one", image]})
    for image, named in ((str(file), "'str'"), (SMALL, "'Image'"), (None, "'NoneType'")):
        with pytest.raises(DrakeError, match=f"record 'r/1', picture 0: {named} stands where"):
            image_bytes({"id": "r/1", "images": [image]})


def test_a_broken_picture_of_a_record_is_named():
    record = {"id": "r/1", "images": [encoded(SMALL, "PNG"), {"bytes": b"", "path": None}]}
    with pytest.raises(DrakeError, match=r"^record 'r/1', picture 1: the picture is empty \(0 bytes\)"):
        decoded_images(record)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_whole_picture_is_told_from_one_that_was_cut_off_without_decoding(format):
    whole = encoded(SMALL, format)
    assert seems_whole(whole) == (format in ("PNG", "JPEG"))
    assert not any(seems_whole(whole[:length]) for length in (0, 1, 2, 10, 20, 25, len(whole) // 2, len(whole) - 1))
    assert not seems_whole(b"\xff\xd8" + whole[2:-2] + b"\xff\xd9") or format == "JPEG"


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"x" * 60_000}, {"quality": 100}])
def test_a_photograph_of_any_kind_seems_whole(options):
    assert seems_whole(encoded(SMALL, "JPEG", **options))


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_a_picture_of_too_many_pixels_is_refused_without_decoding(format, monkeypatch):
    monkeypatch.setattr("drake.data.pictures.MOST_PIXELS", 5)
    with pytest.raises(DrakeError, match="too many pixels"):
        seems_whole(encoded(SMALL, format))
