"""A frozen vision-language model in memory, and the records it reads: texts -> ids, ids and features -> batches.

Made by `drake.models.loading`; the federation and the scoring call it. Pictures are encoded by `drake.models.encoder`;
what sets one architecture apart from another is in `drake.models.layouts`.
"""

from __future__ import annotations

import threading
import warnings
from array import array
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from drake.data.pictures import first_unreadable, image_bytes
from drake.data.record import DatasetRow
from drake.errors import DrakeError
from drake.models import checkpoints
from drake.models.batching import Batch, Row, check_image_tokens, pad
from drake.models.encoder import Asked, Encoder
from drake.models.feature_cache import FeatureCache
from drake.models.images import Colour
from drake.models.layouts import LAYOUTS, Layout, Picture, Rows, decoder_of
from drake.models.prompts import Chat

T = TypeVar("T")
P = ParamSpec("P")


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
    """A frozen vision-language model and everything around it that is the same for all clients. Made by
    `drake.models.loading.load`.

    revision: the hub's commit, or a SHA-256 over all files of a folder that are loaded.
    pad_colour: pictures are padded to a square with this colour; None for as they are.
    """

    name: str
    family: checkpoints.Family
    revision: str
    model: Any
    processor: Any
    device: torch.device
    dtype: torch.dtype
    pad_colour: Colour | None = None
    reads_pictures: ClassVar[bool] = True
    """Whether records may have pictures."""
    layout: Layout = field(init=False, repr=False)
    encoder: Encoder = field(init=False, repr=False)
    chat: Chat = field(init=False, repr=False)
    _lock: AbstractContextManager[object] = field(default_factory=threading.RLock, init=False, repr=False)
    _warned: bool = field(default=False, init=False, repr=False)
    _ids: dict[tuple[object, ...], array[int]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.layout = LAYOUTS[self.model.config.model_type]
        self.chat = Chat(self.processor, self.name, self.layout.mark(self.processor))
        self.encoder = Encoder(self.model, self.processor, self.layout, self.device, self.dtype, self.pad_colour)
        self.model.eval()
        self.model.requires_grad_(False)

    @property
    def cache(self) -> FeatureCache:
        """Encoded pictures."""
        return self.encoder.cache

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    @property
    def decoder(self) -> Any:
        """The language model without its head."""
        return decoder_of(self.model)

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
    def features(self, images: Sequence[bytes], *, several: bool = False) -> list[Tensor]:
        """The output of vision tower and projector for each encoded picture, [tokens, d] each.

        several: whether the pictures belong to records with several, which some architectures read in another way.
        Each distinct picture is encoded once while it stays in the cache. Raises DrakeError for bytes that are no
        picture.
        """
        return self.encoder.features([Asked(image, several) for image in images])

    @_one_at_a_time
    def batch(self, records: Sequence[DatasetRow], *, answers: bool) -> Batch:
        """Records as one batch: with answers, padded right, to train; without, padded left, to generate.

        The embeddings come from the frozen table, with the pictures' features in the places of the image tokens (see
        `Layout.inputs`). Raises DrakeError, which names the record, for bytes that are no picture.
        """
        images = [image_bytes(record) for record in records]
        asked = [[Asked(data, len(row) > 1) for data in row] for row in images]
        try:
            features = self.encoder.features([one for row in asked for one in row])
        except DrakeError as error:
            raise DrakeError(f"{first_unreadable(records, images)}: {error}") from error
        rows: list[Row] = []
        pictures: list[Picture] = []
        remaining = iter(features)
        for record, row in zip(records, asked, strict=True):
            seen = self.encoder.pictures(row)
            prompt = self._prompt_ids(record, seen)
            check_image_tokens(prompt, self._feature_token, [len(next(remaining)) for _ in row], record)
            answer = self._answer_ids(record) if answers else []
            self._warn_if_long(record, len(prompt) + len(answer))
            rows.append(Row(prompt + answer, len(prompt)))
            pictures += seen
        padded = pad(rows, self.pad_id, answers=answers)
        placed = self.encoder.placed
        input_ids, mask = placed(padded.input_ids), placed(padded.attention_mask)
        is_picture = input_ids == self._feature_token
        inputs = self.layout.inputs(self.model, Rows(input_ids, mask, is_picture, features, pictures))
        labels = None if padded.labels is None else placed(padded.labels)
        return Batch(tuple(records), input_ids, inputs, labels)

    @_one_at_a_time
    def prompt_length(self, record: DatasetRow) -> int:
        """Tokens of the record's prompt with its image tokens expanded."""
        length = len(self._prompt_ids(record, self._pictures_of(record)))
        self._warn_if_long(record, length)
        return length

    @_one_at_a_time
    def characters_read(self, record: DatasetRow) -> list[int | None]:
        """`Chat.characters_read` for every token of the record's row in a `batch` with answers, without padding; None
        for the tokens of pictures."""
        return self.chat.characters_read(record, [picture.text for picture in self._pictures_of(record)])

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

    def _pictures_of(self, record: DatasetRow) -> list[Picture]:
        images = image_bytes(record)
        return self.encoder.pictures([Asked(data, len(images) > 1) for data in images])

    @property
    def _feature_token(self) -> int:
        return self.layout.feature_token(self.processor, self.chat.image_token_id)

    def _prompt_ids(self, record: DatasetRow, pictures: Sequence[Picture]) -> list[int]:
        texts = tuple(picture.text for picture in pictures)
        return self._kept((record["id"], record["prompt"], texts), lambda: self.chat.prompt_ids(record, texts))

    def _answer_ids(self, record: DatasetRow) -> list[int]:
        key = (record["id"], record["prompt"], record["answer"], "answer")
        return self._kept(key, lambda: self.chat.answer_ids(record))

    def _kept(self, key: tuple[object, ...], made: Callable[[], list[int]]) -> list[int]:
        """The ids under this key, made once; kept as 32-bit numbers, because a prompt may have thousands."""
        if key not in self._ids:
            self._ids[key] = array("i", made())
        return self._ids[key].tolist()


class Outline(Backbone):
    """A backbone of shapes alone, its tensors on the meta device: adapters can be put on it, but it reads neither texts
    nor pictures. Made by `drake.models.loading.outline`."""

    def __post_init__(self) -> None:
        self.layout = LAYOUTS[self.model.config.model_type]
        self.model.eval()
        self.model.requires_grad_(False)
