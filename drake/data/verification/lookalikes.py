"""Test records that are all but the same as a train record: the same prompt, pictures that look the same.

Hashes of bytes miss a picture that was saved again in another format, quality or size. Here a picture is compared as
a thumbnail of 8 x 8 pixels in colour. Those of one picture saved twice differ by about one step of 255; a scene in
which a small object has moved differs by far more.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 8
MOST_APART = 2.0
"""Root mean square difference of two thumbnails, in steps of 255, up to which they count as the same."""
MOST_BYTES = 512 << 20
"""Bytes of a task's thumbnails up to which it is compared."""
BLOCK = 1024

_VALUES = 3 * SIDE * SIDE


def thumbnail(image: Image.Image) -> npt.NDArray[np.uint8]:
    """A picture as `SIDE` x `SIDE` pixels [values], the means of its parts."""
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.uint8).reshape(-1)


class Pair(NamedTuple):
    """A test record and the train record that it looks like, by their rows in these splits."""

    test: int
    train: int


class Lookalikes:
    """The thumbnails of one task. full: whether there were too many, so that the later ones are not compared."""

    def __init__(self) -> None:
        self.full = False
        self._bytes = 0
        # (digest of the prompt, number of pictures) -> split -> (rows, thumbnails of each record one after another)
        self._groups: dict[tuple[int, int], dict[str, tuple[list[int], list[npt.NDArray[np.uint8]]]]]
        self._groups = defaultdict(lambda: {"train": ([], []), "test": ([], [])})

    def add(self, split: str, row: int, prompt: int, thumbnails: list[npt.NDArray[np.uint8]]) -> None:
        """Remember the pictures of a record, if it has some. prompt: a digest of it."""
        if not thumbnails or self.full:
            return
        self._bytes += len(thumbnails) * _VALUES
        if self._bytes > MOST_BYTES:
            self.full = True
            return
        rows, pictures = self._groups[prompt, len(thumbnails)][split]
        rows.append(row)
        pictures.append(np.concatenate(thumbnails))

    def pairs(self) -> list[Pair]:
        """For each test record that looks like a train record of the same prompt: both, by their rows."""
        found: list[Pair] = []
        for groups in self._groups.values():
            (train_rows, train), (test_rows, test) = groups["train"], groups["test"]
            if not train or not test:
                continue
            left, right = np.stack(test), np.stack(train)
            for start in range(0, len(left), BLOCK):
                found += [
                    Pair(test_rows[start + row], train_rows[other])
                    for row, other in _nearest(left[start : start + BLOCK], right)
                ]
        return sorted(found)


def _nearest(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> list[tuple[int, int]]:
    """For each row of `left` that is near enough to one of `right`: (its number, the number of the first such)."""
    near: dict[int, int] = {}
    for start in range(0, len(right), BLOCK):
        block = right[start : start + BLOCK]
        close = np.ones((len(left), len(block)), bool)
        for place in range(0, left.shape[1], _VALUES):  # one picture after another
            a = left[:, place : place + _VALUES].astype(np.float32)
            b = block[:, place : place + _VALUES].astype(np.float32)
            apart = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
            close &= apart <= _VALUES * MOST_APART**2
        for row in np.flatnonzero(close.any(axis=1)):
            near.setdefault(int(row), start + int(close[row].argmax()))
    return sorted(near.items())
