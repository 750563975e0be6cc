"""What sets the architectures of vision-language models apart: one class each, in `LAYOUTS` by `model_type`.

Everything else in `drake.models` treats them alike. A layout says which processor prepares a picture and what stands
for the picture in a prompt, how the vision tower is called, what the language model is given besides embeddings, and
where the language model is found. Vision towers are frozen and read one picture at a time, so features can be cached
in every layout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple, cast

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    Gemma3Processor,
    Idefics3Processor,
    LlavaOnevisionProcessor,
    LlavaProcessor,
    ProcessorMixin,
    Qwen2_5_VLProcessor,
)

Placed = Callable[[Tensor], Tensor]
"""A tensor -> the same on the model's device, floating point numbers in the model's dtype."""


class Picture(NamedTuple):
    """What a prompt needs to know of a picture besides its features.

    text: what the processor writes for it; as many of its tokens are image tokens as the picture has features.
    grid: its patches in time, height and width, where positions depend on them; otherwise empty.
    """

    text: str
    grid: tuple[int, ...] = ()


class Rows(NamedTuple):
    """A padded batch of B rows and T tokens before its embeddings are made, on the model's device.

    input_ids, attention_mask: [B, T]. is_picture: [B, T], True at image tokens. features: of all pictures in order.
    pictures: the same pictures.
    """

    input_ids: Tensor
    attention_mask: Tensor
    is_picture: Tensor
    features: Sequence[Tensor]
    pictures: Sequence[Picture]


class Layout:
    """LLaVA, and what the other layouts have in common with it.

    processor: its class. decoder: name of the language model's module within `model.model`. towers: names of all other
    modules there. one_length: whether every picture has the same number of features. in_company: whether a picture's
    features depend on whether its record has others. pads: whether `image_aspect_ratio` and `do_pad` in its files mean
    pictures padded to a square. norm_offset: what is added to the weight of an RMSNorm before it scales.
    """

    processor: ClassVar[type[ProcessorMixin]] = LlavaProcessor
    decoder: ClassVar[str] = "language_model"
    towers: ClassVar[tuple[str, ...]] = ("vision_tower", "multi_modal_projector")
    one_length: ClassVar[bool] = True
    in_company: ClassVar[bool] = False
    pads: ClassVar[bool] = True
    norm_offset: ClassVar[float] = 0.0

    def read_processor(self, folder: Path) -> ProcessorMixin:
        """The processor of a checkpoint folder, without the part for videos: that needs packages that nothing here
        uses."""
        # The backend is named because torchvision, where it is installed, gives other bits than Pillow.
        return self.processor.from_pretrained(folder, local_files_only=True, backend="pil", trust_remote_code=False)

    def mark(self, processor: Any) -> str:
        """What a chat template writes for a picture."""
        return processor.image_token

    def feature_token(self, processor: Any, image_token: int) -> int:
        """The id in whose places features stand. image_token: the id that stands for a whole picture."""
        return image_token

    def prepare(self, processor: Any, pictures: Sequence[Image.Image], several: bool, padded: bool) -> dict[str, Any]:
        """What the vision tower reads of pictures; of a single one where `one_length` is False. several: whether there
        are others in its record. padded: whether they were padded to a square."""
        # Processors differ in what `do_pad` does, and the pictures are padded.
        options = {"do_pad": False} if padded else {}
        return processor.image_processor(list(pictures), return_tensors="pt", **options)

    def describe(self, processor: Any, prepared: dict[str, Any]) -> Picture:
        """The picture that was prepared."""
        return Picture(processor.replace_image_token(prepared, 0))

    def encode(self, model: Any, prepared: dict[str, Any], placed: Placed, fill: int) -> list[Tensor]:
        """Features [tokens, d] of the pictures that were prepared. fill: pictures of a pass, the last one repeated
        where there are fewer; 0: as many as there are."""
        pixels: Tensor = prepared["pixel_values"]
        count = len(pixels)
        pixels = torch.cat([pixels, pixels[-1:].expand(max(0, fill - count), -1, -1, -1)])
        output = model.get_image_features(
            pixel_values=placed(pixels),
            vision_feature_layer=model.config.vision_feature_layer,
            vision_feature_select_strategy=model.config.vision_feature_select_strategy,
            return_dict=True,
        )
        return list(output.pooler_output[:count])

    def identity(self, config: Any) -> list[Any]:
        """All of a config that decides features, besides the vision tower's own."""
        return [config.vision_feature_layer, config.vision_feature_select_strategy, config.projector_hidden_act]

    @torch.no_grad()
    def inputs(self, model: Any, rows: Rows) -> dict[str, Any]:
        """Arguments of `model(...)` that read the batch: `inputs_embeds` [B, T, d], `attention_mask` [B, T],
        `position_ids` [B, T] and whatever the architecture needs beyond them. Positions count the real tokens of each
        row from 0, so that padding changes nothing."""
        # Some checkpoints number the image token beyond the embedding table.
        embeds = model.get_input_embeddings()(rows.input_ids.masked_fill(rows.is_picture, 0))
        if rows.features:
            embeds[rows.is_picture] = torch.cat(list(rows.features)).to(embeds.dtype)
        positions = (rows.attention_mask.cumsum(-1) - 1).clamp(min=0)
        return {"inputs_embeds": embeds, "attention_mask": rows.attention_mask, "position_ids": positions}


class _PictureByPicture(Layout):
    """Layouts whose pictures have features in numbers that depend on their size."""

    one_length = False
    pads = False

    def prepare(self, processor: Any, pictures: Sequence[Image.Image], several: bool, padded: bool) -> dict[str, Any]:
        options = getattr(type(processor), "images_kwargs", {})  # which a processor passes on to its image processor
        return processor.image_processor([list(pictures)], return_tensors="pt", **options)

    def identity(self, config: Any) -> list[Any]:
        return [config.to_dict()]


class _OnevisionPictures(LlavaOnevisionProcessor):
    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        num_image_tokens: int | None = None,
        vision_feature_select_strategy: str | None = None,
        chat_template: str | None = None,
        image_token: str = "<image>",
        video_token: str = "<video>",
        vision_aspect_ratio: str = "anyres_max_9",
        **_: Any,
    ) -> None:
        super().__init__(
            image_processor,
            tokenizer,
            num_image_tokens=num_image_tokens,
            vision_feature_select_strategy=vision_feature_select_strategy,
            chat_template=chat_template,
            image_token=image_token,
            video_token=video_token,
            vision_aspect_ratio=vision_aspect_ratio,
        )


class LlavaOnevision(_PictureByPicture):
    """A picture alone in its record is cut into tiles, each of several is one tile."""

    processor = _OnevisionPictures
    in_company = True

    def prepare(self, processor: Any, pictures: Sequence[Image.Image], several: bool, padded: bool) -> dict[str, Any]:
        company = list(pictures) * 2 if several else list(pictures)
        return processor.image_processor([company], return_tensors="pt")

    def encode(self, model: Any, prepared: dict[str, Any], placed: Placed, fill: int) -> list[Tensor]:
        output = model.get_image_features(
            pixel_values=placed(prepared["pixel_values"][:1]),
            image_sizes=prepared["image_sizes"][:1],
            batch_num_images=prepared["batch_num_images"],
            return_dict=True,
        )
        return [output.pooler_output[0]]


class _QwenPictures(Qwen2_5_VLProcessor):
    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None, **_: Any
    ) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template)


class QwenVL(_PictureByPicture):
    """Qwen2-VL and Qwen2.5-VL: pictures keep their proportions, and each token has positions in time, height and width:
    `position_ids` [3, B, T]."""

    processor = _QwenPictures  # for pictures, the processors of Qwen2-VL and Qwen3-VL do the same
    towers = ("visual",)

    def mark(self, processor: Any) -> str:
        return f"<|vision_start|>{processor.image_token}<|vision_end|>"

    def prepare(self, processor: Any, pictures: Sequence[Image.Image], several: bool, padded: bool) -> dict[str, Any]:
        return processor.image_processor(list(pictures), return_tensors="pt")

    def describe(self, processor: Any, prepared: dict[str, Any]) -> Picture:
        return Picture(processor.replace_image_token(prepared, 0), tuple(prepared["image_grid_thw"][0].tolist()))

    def encode(self, model: Any, prepared: dict[str, Any], placed: Placed, fill: int) -> list[Tensor]:
        output = model.get_image_features(
            pixel_values=placed(prepared["pixel_values"]),
            image_grid_thw=placed(prepared["image_grid_thw"]),
            return_dict=True,
        )
        return [self._features(output)]

    def _features(self, output: Any) -> Tensor:
        return output.pooler_output[0]

    def inputs(self, model: Any, rows: Rows) -> dict[str, Any]:
        found = super().inputs(model, rows)
        grids = torch.tensor([picture.grid for picture in rows.pictures], device=rows.input_ids.device)
        found["position_ids"], _ = model.model.get_rope_index(
            rows.input_ids,
            mm_token_type_ids=rows.is_picture.long(),
            image_grid_thw=grids if rows.pictures else None,
            attention_mask=rows.attention_mask,
        )
        return found


class Qwen3VL(QwenVL):
    """The first decoder layers are given features of their own. A row of features holds those of the embeddings and
    then those of each such layer, [tokens, (1 + layers) d]."""

    def _features(self, output: Any) -> Tensor:
        return torch.cat([output.pooler_output[0], *(of_layer[0] for of_layer in output.deepstack_features)], dim=-1)

    def inputs(self, model: Any, rows: Rows) -> dict[str, Any]:
        found = super().inputs(model, rows._replace(features=()))
        # The model puts the features in the places of this embedding itself.
        found["inputs_embeds"] = model.get_input_embeddings()(rows.input_ids)
        if rows.features:
            parts = torch.cat(list(rows.features)).split(found["inputs_embeds"].shape[-1], dim=-1)
            output = SimpleNamespace(pooler_output=[parts[0]], deepstack_features=[[part] for part in parts[1:]])
            found["mm_encoder_outputs"] = {"image": output}
        return found


class Idefics3(_PictureByPicture):
    """Idefics3 and SmolVLM: a picture is cut into tiles, each between marks of its own, beside a small copy of it."""

    processor = Idefics3Processor  # SmolVLM's own is the same for pictures, and wants num2words for videos
    decoder = "text_model"
    towers = ("vision_model", "connector")

    def encode(self, model: Any, prepared: dict[str, Any], placed: Placed, fill: int) -> list[Tensor]:
        mask = prepared.get("pixel_attention_mask")
        output = model.get_image_features(
            pixel_values=placed(prepared["pixel_values"]),
            pixel_attention_mask=None if mask is None else placed(mask),
            return_dict=True,
        )
        return [output.pooler_output[0]]


class Gemma3(_PictureByPicture):
    """The tokens of a picture see each other in both directions: `token_type_ids` [B, T], 1 at image tokens. An RMSNorm
    scales by 1 + weight."""

    processor = Gemma3Processor
    norm_offset = 1.0

    def feature_token(self, processor: Any, image_token: int) -> int:
        return processor.image_token_ids[0]

    def encode(self, model: Any, prepared: dict[str, Any], placed: Placed, fill: int) -> list[Tensor]:
        output = model.get_image_features(pixel_values=placed(prepared["pixel_values"]), return_dict=True)
        return [output.pooler_output.flatten(0, 1)]

    def inputs(self, model: Any, rows: Rows) -> dict[str, Any]:
        return super().inputs(model, rows) | {"token_type_ids": rows.is_picture.long()}


LAYOUTS: dict[str, Layout] = {
    "llava": Layout(),
    "llava_onevision": LlavaOnevision(),
    "qwen2_vl": QwenVL(),
    "qwen2_5_vl": QwenVL(),
    "qwen3_vl": Qwen3VL(),
    "idefics3": Idefics3(),
    "smolvlm": Idefics3(),
    "gemma3": Gemma3(),
}
"""model_type of config.json -> layout; the same names as in `checkpoint_files.LANGUAGE_MODELS`."""


def layout_of(model: nn.Module) -> Layout:
    """The layout of a loaded model, with or without adapters."""
    return LAYOUTS[cast("Any", model).config.model_type]


def decoder_of(model: nn.Module) -> Any:
    """The language model without its head, of a loaded model with or without adapters: its `layers` and `norm`."""
    return model.get_submodule(f"model.{layout_of(model).decoder}")
