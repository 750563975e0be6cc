"""Pictures -> features, through a checkpoint's own processor, vision tower and projector. `drake.models.backbone` calls
it.

The tower is frozen and the same for every client, method and round, so each distinct picture is encoded once while it
stays in the cache.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
from PIL import Image
from torch import Tensor

from drake.common.products import uncounted
from drake.common.threads import single_thread
from drake.data.pictures import decoded
from drake.models import checkpoints
from drake.models.feature_cache import FeatureCache
from drake.models.images import Colour, pad_to_square
from drake.models.layouts import Layout, Picture

ENCODER_BATCH = 16
"""Pictures per pass of the vision tower, where all pictures have one size."""

MANY_PATCHES = 128
"""From this number of patches on, a picture is encoded alone on a CPU: filling a pass up to `ENCODER_BATCH` pictures
would cost more than further passes."""


class Asked(NamedTuple):
    """An encoded picture (bytes of a file), and whether its record has several."""

    data: bytes
    several: bool


@dataclass
class Encoder:
    """The frozen part of a backbone that sees. Not for two threads at once.

    pad_colour: pictures are padded to a square with this colour; None for as they are.
    cache: features by picture.
    """

    model: Any
    processor: Any
    layout: Layout
    device: torch.device
    dtype: torch.dtype
    pad_colour: Colour | None = None
    cache: FeatureCache = field(default_factory=FeatureCache, repr=False)
    _pictures: dict[bytes, Picture] = field(default_factory=dict[bytes, Picture], init=False, repr=False)
    _usual: Picture | None = field(default=None, init=False, repr=False)

    def features(self, asked: Sequence[Asked]) -> list[Tensor]:
        """The features [tokens, d] of each picture. Each distinct one (by the hash of its bytes) is encoded once while
        it stays in the cache. Raises DrakeError for bytes that are no picture."""
        keys = [self._key(one) for one in asked]
        found = self.cache.find(keys)
        pending = list({key: one for key, one in zip(keys, asked, strict=True) if key not in found}.items())
        for start in range(0, len(pending), self._batch):
            part = pending[start : start + self._batch]
            features = self._encode([decoded(one.data) for _, one in part], part[0][1].several, part[0][0])
            encoded = dict(zip((key for key, _ in part), features, strict=True))
            self.cache.keep(encoded)
            found |= encoded
        return [found[key] for key in keys]

    def pictures(self, asked: Sequence[Asked]) -> list[Picture]:
        """What stands for each picture in a prompt. Encodes none whose features have been asked for, and where all
        pictures have as many only the first."""
        if not asked or self.layout.one_length:
            return [self._of_every_picture(asked[0])] * len(asked) if asked else []
        for one in asked:
            if self._key(one) not in self._pictures:
                self._prepared([decoded(one.data)], one.several, self._key(one))
        return [self._pictures[self._key(one)] for one in asked]

    def alone(self, picture: Image.Image) -> Tensor:
        """The features of a picture, kept nowhere."""
        (features,) = self._encode([picture], False, None)
        return features

    def _key(self, asked: Asked) -> bytes:
        digest = hashlib.sha256(asked.data).digest()
        return hashlib.sha256(digest).digest() if self.layout.in_company and asked.several else digest

    def _of_every_picture(self, first: Asked) -> Picture:
        if self._usual is None:
            self._usual = Picture(self.processor.image_token * len(self.features([first])[0]))
        return self._usual

    @property
    def _batch(self) -> int:
        """Pictures per pass of the vision tower. On a CPU every pass has exactly this many, the last picture repeated
        where needed: some CPUs sum a matrix product of another height in another order, and a picture's features would
        depend on the pictures it is encoded with."""
        if not self.layout.one_length:
            return 1
        vision = checkpoints.vision_config(self.model.config)
        size, patch = cast(int, vision.image_size), cast(int, vision.patch_size)  # annotated as pairs too
        alone = self.device.type == "cpu" and (size // patch) ** 2 >= MANY_PATCHES
        return 1 if alone else ENCODER_BATCH

    def _encode(self, pictures: list[Image.Image], several: bool, key: bytes | None) -> list[Tensor]:
        """Features of decoded pictures, each with the same bits whatever pictures are encoded with it. On a CPU that
        needs a single thread: several split a matrix product by its size, which changes the last digit."""
        if self.device.type != "cpu":
            return self._encoded(pictures, several, key, fill=0)
        with single_thread():
            return self._encoded(pictures, several, key, fill=self._batch)

    @uncounted()
    @torch.no_grad()
    def _encoded(self, pictures: list[Image.Image], several: bool, key: bytes | None, fill: int) -> list[Tensor]:
        prepared = self._prepared(pictures, several, key)
        features = self.layout.encode(self.model, prepared, self._of_model, fill)
        return [feature.clone() for feature in features]  # a view would keep the whole batch in memory

    def _prepared(self, pictures: list[Image.Image], several: bool, key: bytes | None) -> dict[str, Any]:
        """What the tower reads; remembers what stands for the picture in prompts, where pictures differ in that."""
        if self.pad_colour is not None:
            pictures = [pad_to_square(picture, self.pad_colour) for picture in pictures]
        prepared = self.layout.prepare(self.processor, pictures, several, self.pad_colour is not None)
        if key is not None and not self.layout.one_length:
            picture = self.layout.describe(self.processor, prepared)
            self._pictures[key] = picture._replace(text=sys.intern(picture.text))  # most pictures share a few texts
        return prepared

    def _of_model(self, tensor: Tensor) -> Tensor:
        return self.placed(tensor.to(self.dtype) if tensor.is_floating_point() else tensor)

    def placed(self, tensor: Tensor) -> Tensor:
        """The tensor on the device; the copy to a GPU does not wait for kernels that still run."""
        if self.device.type != "cuda":
            return tensor.to(self.device)
        with torch.cuda.device(self.device):  # a new thread has GPU 0 as its current device
            return tensor.pin_memory().to(self.device, non_blocking=True)
