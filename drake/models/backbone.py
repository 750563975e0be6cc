"""A frozen LLaVA in memory, and the records it reads: pictures -> features, texts -> ids, both -> batches.

Made by `drake.models.loading`; the federation and the scoring call it. Vision tower and projector are frozen and the
same for every client, method and round, so each distinct picture is encoded once.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar, cast

import torch
from PIL import Image
from torch import Tensor
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from drake.common.threads import single_thread
from drake.data.pictures import decoded, first_unreadable, image_bytes
from drake.data.record import DatasetRow
from drake.errors import DrakeError
from drake.models import checkpoints
from drake.models.batching import Batch, Row, expand_image_tokens, pad
from drake.models.feature_cache import FeatureCache
from drake.models.images import Colour, pad_to_square
from drake.models.prompts import Chat

T = TypeVar("T")
P = ParamSpec("P")

ENCODER_BATCH = 16
"""Pictures per pass of the vision tower."""

MANY_PATCHES = 128
"""From this number of patches on, a picture is encoded alone on a CPU: filling a pass up to `ENCODER_BATCH` pictures
would cost more than further passes."""


def _one_at_a_time(
    method: Callable[Concatenate[Backbone, P], T],
) -> Callable[Concatenate[Backbone, P], T]:
    """A method that holds the backbone's lock: one thread may make the next batch while another makes one too, and
    neither tokenizers nor caches may be used by two threads at once."""

    @wraps(method)
    def locked(self: Backbone, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._lock:
            return method(self, *args, **kwargs)

    return locked


@dataclass
class Backbone:
    """A frozen LLaVA and everything around it that is the same for all clients. Made by `drake.models.loading.load`.

    revision: the hub's commit, or a SHA-256 over all files of a folder that are loaded.
    pad_colour: pictures are padded to a square with this colour; None for as they are.
    cache: encoded pictures.
    """

    name: str
    family: checkpoints.Family
    revision: str
    model: LlavaForConditionalGeneration
    processor: LlavaProcessor
    device: torch.device
    dtype: torch.dtype
    pad_colour: Colour | None = None
    reads_pictures: ClassVar[bool] = True
    """Whether records may have pictures."""
    cache: FeatureCache = field(default_factory=FeatureCache, repr=False)
    chat: Chat = field(init=False, repr=False)
    _lock: AbstractContextManager[object] = field(default_factory=threading.RLock, init=False, repr=False)
    _warned: bool = field(default=False, init=False, repr=False)
    _picture_tokens: int | None = field(default=None, init=False, repr=False)
    _ids: dict[tuple[str, str, str | None], list[int]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.chat = Chat(self.processor, self.name)
        self.model.eval()
        self.model.requires_grad_(False)

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    @property
    def num_layers(self) -> int:
        """Decoder layers of the language model."""
        return checkpoints.text_config(self.model.config).num_hidden_layers

    @property
    def hidden_size(self) -> int:
        """Width d of the hidden states."""
        return checkpoints.text_config(self.model.config).hidden_size

    @property
    def stop_ids(self) -> list[int]:
        """Ids of the tokens that end a generated answer: the chat's end of turn and what the checkpoint names as EOS,
        sorted."""
        eos = self.model.generation_config.eos_token_id
        named = eos if isinstance(eos, list) else [eos]
        return sorted({self.chat.end_of_turn, self.tokenizer.eos_token_id, *named} - {None})

    @property
    def pad_id(self) -> int:
        """Id of the padding token; the end of turn where the tokenizer names none."""
        found = self.tokenizer.pad_token_id
        return found if found is not None else self.chat.end_of_turn

    @_one_at_a_time
    def features(self, images: Sequence[bytes]) -> list[Tensor]:
        """The output of vision tower and projector for each encoded picture, [tokens, d] each.

        Each distinct picture (by the hash of its bytes) is encoded once while it stays in the cache. Raises
        DrakeError for bytes that are no picture.
        """
        keys = [hashlib.sha256(image).digest() for image in images]
        found = self.cache.find(keys)
        misses = {key: image for key, image in zip(keys, images, strict=True) if key not in found}
        pending = list(misses.items())
        for start in range(0, len(pending), self._encoder_batch):
            part = pending[start : start + self._encoder_batch]
            features = self._encode([decoded(image) for _, image in part])
            encoded = dict(zip((key for key, _ in part), features, strict=True))
            self.cache.keep(encoded)
            found |= encoded
        return [found[key] for key in keys]

    @_one_at_a_time
    def batch(self, records: Sequence[DatasetRow], *, answers: bool) -> Batch:
        """Records as one batch: with answers, padded right, to train; without, padded left, to generate.

        The embeddings come from the frozen table, with the pictures' features in the places of the image tokens;
        `position_ids` count the real tokens of each row from 0, so that padding changes nothing. Raises DrakeError,
        which names the record, for bytes that are no picture.
        """
        images = [image_bytes(record) for record in records]
        try:
            features = self.features([data for row in images for data in row])
        except DrakeError as error:
            raise DrakeError(f"{first_unreadable(records, images)}: {error}") from error
        remaining = iter(features)
        rows: list[Row] = []
        for record in records:
            lengths = [len(next(remaining)) for _ in record["images"]]
            prompt = expand_image_tokens(self._prompt_ids(record), self.chat.image_token_id, lengths, record)
            answer = self._answer_ids(record) if answers else []
            self._warn_if_long(record, len(prompt) + len(answer))
            rows.append(Row(prompt + answer, len(prompt)))
        padded = pad(rows, self.pad_id, answers=answers)
        input_ids, mask = self._placed(padded.input_ids), self._placed(padded.attention_mask)
        inputs = {
            "inputs_embeds": self._embed(input_ids, features),
            "attention_mask": mask,
            "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
        }
        labels = None if padded.labels is None else self._placed(padded.labels)
        return Batch(tuple(records), input_ids, inputs, labels)

    def prompt_length(self, record: DatasetRow) -> int:
        """Tokens of the record's prompt with its image tokens expanded. A LLaVA resizes every picture to one size, so
        the first picture's number of tokens holds for all."""
        length = len(self._prompt_ids(record)) + len(record["images"]) * (self._picture_tokens_of(record) - 1)
        self._warn_if_long(record, length)
        return length

    def characters_read(self, record: DatasetRow) -> list[int | None]:
        """`Chat.characters_read` for every token of the record's row in a `batch` with answers, without padding; None
        for the tokens of pictures."""
        length = self._picture_tokens_of(record)
        read = self.chat.characters_read(record)
        return [
            count
            for token, count in zip(self._prompt_ids(record) + self._answer_ids(record), read, strict=True)
            for _ in range(length if token == self.chat.image_token_id else 1)
        ]

    def decode(self, ids: Tensor | Sequence[int]) -> str:
        """The text of generated ids up to the first stop token."""
        ids = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        stops = set(self.stop_ids)
        end = next((position for position, id_ in enumerate(ids) if id_ in stops), len(ids))
        return self.tokenizer.decode(ids[:end], skip_special_tokens=True).strip()

    def _warn_if_long(self, record: DatasetRow, length: int) -> None:
        """Warn, once, of a record that is longer than what the language model was made for. It is answered, as the
        official code does, but hardly in a useful way."""
        limit = getattr(checkpoints.text_config(self.model.config), "max_position_embeddings", None)
        if limit is not None and length > limit and not self._warned:
            self._warned = True
            warnings.warn(
                f"record {record['id']!r} is {length} tokens long for {self.name}, which was made for at most {limit} "
                "(max_position_embeddings): answers to such records are hardly useful, choose a backbone with a "
                "longer context.",
                stacklevel=3,
            )

    def _picture_tokens_of(self, record: DatasetRow) -> int:
        """Tokens of one picture; 1 for a record without pictures."""
        if not record["images"]:
            return 1
        if self._picture_tokens is None:
            self._picture_tokens = len(self.features(image_bytes(record)[:1])[0])
        return self._picture_tokens

    def encode_alone(self, picture: Image.Image) -> list[Tensor]:
        """The features of a picture, kept nowhere."""
        return self._encode([picture])

    @property
    def _encoder_batch(self) -> int:
        """Pictures per pass of the vision tower. On a CPU every pass has exactly this many, the last picture repeated
        where needed: some CPUs sum a matrix product of another height in another order, and a picture's features would
        depend on the pictures it is encoded with."""
        vision = checkpoints.vision_config(self.model.config)
        size, patch = cast(int, vision.image_size), cast(int, vision.patch_size)  # annotated as pairs too
        alone = self.device.type == "cpu" and (size // patch) ** 2 >= MANY_PATCHES
        return 1 if alone else ENCODER_BATCH

    def _encode(self, pictures: list[Image.Image]) -> list[Tensor]:
        """Features of decoded pictures, each with the same bits whatever pictures are encoded with it. On a CPU that
        needs a single thread: several split a matrix product by its size, which changes the last digit."""
        if self.device.type != "cpu":
            return self._encoded(pictures)
        with single_thread():
            return self._encoded(pictures)

    @torch.no_grad()
    def _encoded(self, pictures: list[Image.Image]) -> list[Tensor]:
        pixels = self._pixels(pictures)
        if self.device.type == "cpu":
            pixels = torch.cat([pixels, pixels[-1:].expand(self._encoder_batch - len(pixels), -1, -1, -1)])
        # transformers' decorators take `return_dict`, which the typed signature does not show.
        encode = cast(Callable[..., Any], self.model.get_image_features)
        output = encode(
            pixel_values=self._placed(pixels.to(self.dtype)),
            vision_feature_layer=self.model.config.vision_feature_layer,
            vision_feature_select_strategy=self.model.config.vision_feature_select_strategy,
            return_dict=True,
        )
        features = output.pooler_output[: len(pictures)]
        return [feature.clone() for feature in features]  # a view would keep the whole batch in memory

    def _pixels(self, pictures: list[Image.Image]) -> Tensor:
        """[pictures, 3, height, width], as the processor makes them."""
        if self.pad_colour is None:
            return self.processor.image_processor(pictures, return_tensors="pt")["pixel_values"]
        squares = [pad_to_square(picture, self.pad_colour) for picture in pictures]
        # Processors differ in what `do_pad` does, and the pictures are padded.
        return self.processor.image_processor(squares, return_tensors="pt", do_pad=False)["pixel_values"]

    def _placed(self, tensor: Tensor) -> Tensor:
        """The tensor on the backbone's device; the copy to a GPU does not wait for kernels that still run."""
        if self.device.type != "cuda":
            return tensor.to(self.device)
        with torch.cuda.device(self.device):  # a new thread has GPU 0 as its current device
            return tensor.pin_memory().to(self.device, non_blocking=True)

    def _prompt_ids(self, record: DatasetRow) -> list[int]:
        key = (record["id"], record["prompt"], None)
        if key not in self._ids:
            self._ids[key] = self.chat.prompt_ids(record)
        return self._ids[key]

    def _answer_ids(self, record: DatasetRow) -> list[int]:
        key = (record["id"], record["prompt"], record["answer"])
        if key not in self._ids:
            self._ids[key] = self.chat.answer_ids(record, self._prompt_ids(record))
        return self._ids[key]

    @torch.no_grad()
    def _embed(self, input_ids: Tensor, pictures: list[Tensor]) -> Tensor:
        is_image = input_ids == self.chat.image_token_id
        # Some checkpoints number the image token beyond the embedding table.
        embeds = self.model.get_input_embeddings()(input_ids.masked_fill(is_image, 0))
        if pictures:
            embeds[is_image] = torch.cat(pictures).to(embeds.dtype)
        return embeds


class Outline(Backbone):
    """A backbone of shapes alone, its tensors on the meta device: adapters can be put on it, but it reads neither texts
    nor pictures. Made by `drake.models.loading.outline`."""

    def __post_init__(self) -> None:
        self.model.eval()
        self.model.requires_grad_(False)
