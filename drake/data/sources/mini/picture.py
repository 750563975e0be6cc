"""Drawing for the mini worlds: one size, one palette, a few shapes.

A picture is SIZE x SIZE RGB; the tiny backbones cut it into a 3 x 3 grid of patches of 12 x 12 pixels, so an object
that a question asks about should fill most of a grid cell (`cell`) and keep a clear outline. Nothing is antialiased:
the same scene gives the same bytes everywhere.
"""

from PIL import Image, ImageDraw

SIZE = 36
CELL = SIZE // 3

PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (50, 80, 220),
    "yellow": (240, 210, 40),
    "purple": (150, 60, 190),
    "orange": (245, 135, 30),
    "white": (250, 250, 250),
    "black": (20, 20, 20),
}
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, all inclusive."""
SHAPES = ("circle", "square", "triangle", "cross", "ring", "bar")


def blank(background: str | tuple[int, int, int] = (128, 128, 128)) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty picture and the pen to draw on it; `background` is a palette name or an RGB triple."""
    colour = PALETTE[background] if isinstance(background, str) else background
    image = Image.new("RGB", (SIZE, SIZE), colour)
    return image, ImageDraw.Draw(image)


def cell(column: int, row: int, jitter: tuple[int, int] = (0, 0), margin: int = 1) -> Box:
    """The box of a cell of the 3 x 3 grid, shrunk by `margin` pixels on each side and moved by `jitter` pixels."""
    left, top = column * CELL + margin + jitter[0], row * CELL + margin + jitter[1]
    side = CELL - 1 - 2 * margin
    return left, top, left + side, top + side


def draw_shape(pen: ImageDraw.ImageDraw, shape: str, colour: str | tuple[int, int, int], box: Box) -> None:
    """Fill `box` with one of SHAPES in a palette colour or an RGB triple."""
    fill = PALETTE[colour] if isinstance(colour, str) else colour
    left, top, right, bottom = box
    middle, width, height = (left + right) // 2, right - left, bottom - top
    if shape == "circle":
        pen.ellipse(box, fill=fill)
    elif shape == "square":
        pen.rectangle(box, fill=fill)
    elif shape == "triangle":
        pen.polygon([(left, bottom), (right, bottom), (middle, top)], fill=fill)
    elif shape == "cross":
        pen.rectangle((left + width // 3, top, right - width // 3, bottom), fill=fill)
        pen.rectangle((left, top + height // 3, right, bottom - height // 3), fill=fill)
    elif shape == "ring":
        pen.ellipse(box, outline=fill, width=max(2, width // 4))
    elif shape == "bar":
        pen.rectangle((left, top + height // 3, right, bottom - height // 3), fill=fill)
    else:
        raise ValueError(f"no shape is called {shape!r}")
