"""Name or path -> frozen model and processor; records -> what the model eats. Federation and scoring call
this.

An embedded tiny backbone, a checkpoint of the hub and a local folder are all ordinary LLaVA checkpoints
(LlavaForConditionalGeneration, LlavaProcessor, chat template) and go through the same lines. Vision tower and
projector are frozen and the same for every client, method and round, so each distinct picture is encoded
once.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from drake.data.pictures import DECODING, decoded, first_unreadable, image_bytes
from drake.errors import DrakeError
from drake.models import checkpoints
from drake.models.compiling import compile_training
from drake.models.feature_cache import DiskFeatures, FeatureCache
from drake.models.prompts import Chat, Record

T = TypeVar("T")

IGNORED = -100
"""The label of tokens that carry no loss."""

ENCODER_BATCH = 16
"""Pictures per pass of the vision tower."""

MANY_PATCHES = 128
"""From so many patches on, a picture is encoded alone on a CPU: repeats would cost more than further passes."""


class Batch(NamedTuple):
    """Records as one padded batch of B rows and T tokens.

    records: the records, in the order of the rows.
    input_ids: [B, T], image tokens expanded to the number of feature tokens.
    inputs: for `model(**inputs)`: `inputs_embeds` [B, T, d], `attention_mask` and `position_ids` [B, T].
    labels: [B, T], -100 except for the tokens of the answer and its end of turn; None for generation.
    """

    records: tuple[Record, ...]
    input_ids: Tensor
    inputs: dict[str, Tensor]
    labels: Tensor | None


def _one_at_a_time(method: Callable[..., T]) -> Callable[..., T]:
    """A thread may make the next batch while a method makes one too; tokenizers and caches serve one at a time."""

    @wraps(method)
    def alone(self: Backbone, *args: Any, **kwargs: Any) -> T:
        with self._lock:
            return method(self, *args, **kwargs)

    return alone


@dataclass
class Backbone:
    """A frozen LLaVA and everything around it that is the same for all clients. Made by `load`.

    revision: the hub's commit, or the SHA-256 of the weight files of a folder.
    cache: encoded pictures.
    stop_ids: tokens that end a generated answer.
    """

    name: str
    family: checkpoints.Family
    revision: str
    model: LlavaForConditionalGeneration
    processor: LlavaProcessor
    device: torch.device
    dtype: torch.dtype
    cache: FeatureCache = field(default_factory=FeatureCache, repr=False)
    chat: Chat = field(init=False, repr=False)
    _lock: Any = field(default_factory=threading.RLock, init=False, repr=False)
    _picture_tokens: int | None = field(default=None, init=False, repr=False)
    _ids: dict[tuple[str, str, str | None], list[int]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.chat = Chat(self.processor, self.name)
        self.model.eval()
        self.model.requires_grad_(False)

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer

    @property
    def num_layers(self) -> int:
        return self.model.config.text_config.num_hidden_layers

    @property
    def hidden_size(self) -> int:
        return self.model.config.text_config.hidden_size

    @property
    def stop_ids(self) -> list[int]:
        """Ids that end an answer: the chat's end of turn and whatever the checkpoint names as EOS."""
        named = self.model.generation_config.eos_token_id
        named = named if isinstance(named, list) else [named]
        return sorted({self.chat.end_of_turn, self.tokenizer.eos_token_id, *named} - {None})

    @property
    def pad_id(self) -> int:
        pad = self.tokenizer.pad_token_id
        return pad if pad is not None else self.chat.end_of_turn

    @_one_at_a_time
    def features(self, images: Sequence[bytes]) -> list[Tensor]:
        """What the language model sees of each picture: vision tower and projector, [tokens, d] each.

        Each distinct picture (by the hash of its bytes) is encoded once as long as it stays in the cache.
        Raises DrakeError for bytes that are no picture.
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
    def batch(self, records: Sequence[Record], *, answers: bool) -> Batch:
        """Records as one batch: with answers, padded right, to train; without, padded left, to generate.

        The embeddings are built from the frozen table with the pictures' features in the places of the image
        tokens; `position_ids` count the real tokens of each row from 0, so that padding changes nothing.
        """
        images = [image_bytes(record) for record in records]
        try:
            features = iter(self.features([data for row in images for data in row]))
        except DrakeError as error:
            raise DrakeError(f"{first_unreadable(records, images)}: {error}") from error
        rows: list[tuple[list[int], list[Tensor], int]] = []
        for record in records:
            pictures = [next(features) for _ in record["images"]]
            lengths = [len(feature) for feature in pictures]
            prompt = _expand(self._prompt_ids(record), self.chat.image_token_id, lengths, record)
            answer = self._answer_ids(record) if answers else []
            rows.append((prompt + answer, pictures, len(prompt)))

        height, width = len(rows), max(len(ids) for ids, _, _ in rows)
        input_ids = torch.full((height, width), self.pad_id)
        mask = torch.zeros((height, width), dtype=torch.long)
        labels = torch.full((height, width), IGNORED) if answers else None
        for row, (ids, _, prompt_length) in enumerate(rows):
            start = 0 if answers else width - len(ids)
            input_ids[row, start : start + len(ids)] = torch.tensor(ids)
            mask[row, start : start + len(ids)] = 1
            if labels is not None:
                labels[row, prompt_length : len(ids)] = torch.tensor(ids[prompt_length:])
        input_ids, mask = self._placed(input_ids), self._placed(mask)
        inputs = {
            "inputs_embeds": self._embed(input_ids, [f for _, pictures, _ in rows for f in pictures]),
            "attention_mask": mask,
            "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
        }
        if labels is not None:
            labels = self._placed(labels)
        return Batch(tuple(records), input_ids, inputs, labels)

    def prompt_length(self, record: Record) -> int:
        """Tokens of the record's prompt with its pictures expanded; a LLaVA sees every picture at one size, so the
        first picture's count holds for all."""
        return len(self._prompt_ids(record)) + len(record["images"]) * (self._picture_tokens_of(record) - 1)

    def characters_read(self, record: Record) -> list[int | None]:
        """`Chat.characters_read` of every token of the record's row in a `batch` with answers, padding left out; None
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

    def _picture_tokens_of(self, record: Record) -> int:
        """Tokens of one picture; 1 for a record without pictures."""
        if not record["images"]:
            return 1
        if self._picture_tokens is None:
            self._picture_tokens = len(self.features(image_bytes(record)[:1])[0])
        return self._picture_tokens

    @property
    def _encoder_batch(self) -> int:
        """Pictures per pass of the vision tower. On a CPU every pass has this many, where needed by repeating one: some
        CPUs sum a matrix product of another height in another order, and the features would depend on the company.
        """
        vision = self.model.config.vision_config
        alone = self.device.type == "cpu" and (vision.image_size // vision.patch_size) ** 2 >= MANY_PATCHES
        return 1 if alone else ENCODER_BATCH

    def _encode(self, pictures: list[Image.Image]) -> list[Tensor]:
        """Features of pictures, the same bits in any company: with several threads a CPU cuts its products by their
        size, and a picture encoded with others would differ in the last digit."""
        if self.device.type != "cpu":
            return self._encoded(pictures)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return self._encoded(pictures)
        finally:
            torch.set_num_threads(threads)

    @torch.no_grad()
    def _encoded(self, pictures: list[Image.Image]) -> list[Tensor]:
        pixels = self.processor.image_processor(pictures, return_tensors="pt")["pixel_values"]
        if self.device.type == "cpu":
            pixels = torch.cat([pixels, pixels[-1:].expand(self._encoder_batch - len(pixels), -1, -1, -1)])
        output = self.model.get_image_features(
            pixel_values=self._placed(pixels.to(self.dtype)),
            vision_feature_layer=self.model.config.vision_feature_layer,
            vision_feature_select_strategy=self.model.config.vision_feature_select_strategy,
            return_dict=True,
        )
        features = output.pooler_output[: len(pictures)]
        return [feature.clone() for feature in features]  # views would keep the whole batch alive

    def _placed(self, tensor: Tensor) -> Tensor:
        """On the device, without waiting for what a GPU is doing."""
        if self.device.type != "cuda":
            return tensor.to(self.device)
        with torch.cuda.device(self.device):  # a thread begins with the first GPU as its own
            return tensor.pin_memory().to(self.device, non_blocking=True)

    def _prompt_ids(self, record: Record) -> list[int]:
        key = (record["id"], record["prompt"], None)
        if key not in self._ids:
            self._ids[key] = self.chat.prompt_ids(record)
        return self._ids[key]

    def _answer_ids(self, record: Record) -> list[int]:
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
    nor pictures. Made by `outline`."""

    def __post_init__(self) -> None:
        self.model.eval()
        self.model.requires_grad_(False)


def answer_logits(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits [n, V] and targets [n] of the batch's n answer tokens, rows in order.

    `model` is a LlavaForConditionalGeneration. lm_head runs on these positions only: the cross-entropy of the
    two is the usual loss at a fraction of the memory.
    """
    if batch.labels is None:
        raise ValueError("a batch without answers has no targets")
    targets = batch.labels[:, 1:]
    wanted = targets != IGNORED
    # Padded on the right, a causal model needs no mask: no answer token sees what follows it.
    embeds = batch.inputs["inputs_embeds"]
    hidden = model.model(inputs_embeds=embeds, use_cache=False).last_hidden_state[:, :-1]
    return model.lm_head(hidden[wanted]), targets[wanted]


def load(
    name_or_path: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    revision: str | None = None,
    checkpointing: bool = False,
    compiled: bool = False,
    feature_folder: Path | None = None,
    feature_bytes: int = 0,
) -> Backbone:
    """The backbone of an embedded name, a name of the catalog, a local checkpoint folder or a hub repository.

    revision: a commit, tag or branch of the hub; default: its main branch. checkpointing: while it trains, keep only
    each layer's input and compute the rest again on the way back; less memory, a third more time, the same gradients.
    compiled: see `compile_training`. feature_folder: where encoded pictures outlive this process, in at most
    `feature_bytes`.
    Raises UnknownName for a name that nobody knows, DrakeError for a repository that cannot be reached and a
    folder that holds no LLaVA checkpoint.
    """
    name = str(name_or_path)
    folder, commit = checkpoints.locate(name, revision)
    family = checkpoints.check_checkpoint(folder)
    # The backend is named because torchvision, where it is installed, gives other bits than Pillow.
    processor = LlavaProcessor.from_pretrained(folder, local_files_only=True, backend="pil", trust_remote_code=False)
    model = LlavaForConditionalGeneration.from_pretrained(
        folder,
        dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        attn_implementation=checkpoints.ATTENTION,
    ).to(device)
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})  # nothing before the adapters wants a gradient
    if compiled:
        compile_training(model.model.language_model.layers)
    backbone = Backbone(
        name=name,
        family=family,
        revision=commit or checkpoints.hash_of_weights(folder),
        model=model,
        processor=processor,
        device=torch.device(device),
        dtype=dtype,
    )
    if feature_folder is not None:
        disk = DiskFeatures(feature_folder, _encoder_identity(backbone), feature_bytes, backbone.device)
        backbone.cache = FeatureCache(disk=disk)
    return backbone


def _encoder_identity(backbone: Backbone) -> str:
    """Everything that decides the bits of a picture's features besides the picture."""
    config, cuda = backbone.model.config, backbone.device.type == "cuda"
    return json.dumps(
        [
            backbone.revision,
            str(backbone.dtype),
            torch.cuda.get_device_name(backbone.device) if cuda else torch.backends.cpu.get_cpu_capability(),
            config.vision_config.to_dict(),
            [config.vision_feature_layer, config.vision_feature_select_strategy, config.projector_hidden_act],
            backbone.processor.image_processor.to_dict(),
            [version(name) for name in ("torch", "transformers", "pillow", "numpy")],
            DECODING,
        ],
        sort_keys=True,
        default=str,
    )


def outline(name_or_path: str | Path, *, dtype: torch.dtype = torch.float32) -> Outline:
    """A backbone without its weights; takes the names that `load` takes, and raises what `checkpoints.config`
    does."""
    found = checkpoints.config(name_or_path)
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(found).to(dtype)
    return Outline(
        name=str(name_or_path),
        family=checkpoints.family(found),
        revision="",
        model=model,
        processor=None,
        device=torch.device("meta"),
        dtype=dtype,
    )


def _expand(ids: list[int], image_token: int, lengths: list[int], record: Record) -> list[int]:
    """`ids` with the k-th image token repeated `lengths[k]` times."""
    if ids.count(image_token) != len(lengths):
        raise DrakeError(
            f"record {record['id']!r} has {len(lengths)} pictures but its prompt {ids.count(image_token)} image "
            "tokens; they must be as many."
        )
    left = iter(lengths)
    return [token for id_ in ids for token in ([id_] * next(left) if id_ == image_token else [id_])]
