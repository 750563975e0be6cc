"""Is what was loaded a model that can be used? Called once by `drake.models.loading`, before anything is computed.

transformers gives random values to weights that a checkpoint lacks, and finds sizes that do not fit only when a picture
or a text is read. Everything here is found at load and named in one sentence.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import nn

from drake.common.threads import single_thread
from drake.errors import DrakeError

if TYPE_CHECKING:
    from drake.models.backbone import Backbone

SHOWN = 3
"""Names of weights in an error."""
OBSOLETE = re.compile(r"(rotary_emb\.inv_freq|embeddings\.position_ids)$")
"""Constants that older versions of transformers stored and nothing reads."""
SAMPLE = (48, 32)
"""Size of the blank picture; not a square, so that a processor that keeps the shape is found out."""


def check_keys(where: str, info: Mapping[str, Any]) -> None:
    """Refuse weights that are missing, have another shape than the model, or have no place in it. info: what
    `from_pretrained(..., output_loading_info=True)` returns."""
    if missing := sorted(info["missing_keys"]):
        unexpected = sorted(info["unexpected_keys"])
        instead = f", but has {unexpected[0]}" if unexpected else ""
        raise DrakeError(f"{where} lacks weights of the model: {_few(missing)}{instead}; restore them.")
    if mismatched := sorted(info["mismatched_keys"], key=str):
        name, stored, wanted = mismatched[0]
        raise DrakeError(
            f"{where} has weights of other shapes than its config.json describes: {name} is {_shape(stored)} instead "
            f"of {_shape(wanted)}; restore the config.json that belongs to them."
        )
    unexpected = sorted(name for name in info["unexpected_keys"] if not OBSOLETE.search(name))
    if unexpected:
        raise DrakeError(
            f"{where} has weights that its config.json has no place for: {_few(unexpected)}; restore the config.json "
            "that belongs to them."
        )


def _few(names: Collection[str]) -> str:
    first = list(names)[:SHOWN]
    more = f" and {len(names) - len(first)} more" if len(names) > len(first) else ""
    return ", ".join(first) + more


def _shape(sizes: Collection[int]) -> str:
    return " x ".join(map(str, sizes))


@torch.no_grad()
def check_finite(where: str, model: nn.Module) -> None:
    """Refuse NaN and infinite weights."""
    for name, tensor in model.state_dict().items():
        with single_thread() if tensor.device.type == "cpu" else nullcontext():
            if tensor.is_floating_point() and tensor.numel() and not torch.stack(tensor.aminmax()).isfinite().all():
                raise DrakeError(f"{where} has weights that are not finite numbers, the first in {name}; restore it.")


def check_tokenizer(where: str, processor: Any, rows: int) -> None:
    """Refuse a tokenizer without a token for pictures, and one whose ids go beyond the model's embeddings. rows: of the
    embedding table; only the tokens of pictures may lie beyond it."""
    tokenizer, token = processor.tokenizer, processor.image_token
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    ids = tokenizer(f"a{token}b", add_special_tokens=False)["input_ids"]
    if token not in vocabulary or ids.count(vocabulary[token]) != 1:
        raise DrakeError(
            f"the tokenizer of {where} has no token {token}, so it cannot say where a picture stands; add it as a "
            "special token, or copy the tokenizer of the checkpoint that this one was made of."
        )
    of_pictures = {token, *(name for name, number in vocabulary.items() if number in processor.image_token_ids)}
    check_vocabulary(where, tokenizer, rows, but=of_pictures)


def check_official(where: str, template: str, tokenizer: Any) -> None:
    """Refuse the official prompt for a tokenizer of another kind, which would read its marks as words."""
    vocabulary = tokenizer.get_vocab()
    for token in re.findall(r"<\|\w+\|>", template):
        if token not in vocabulary:
            raise DrakeError(
                f"the tokenizer of {where} has no token {token}, which the official prompt is written with; use "
                "--prompts stored."
            )


def check_vocabulary(where: str, tokenizer: Any, rows: int, but: Container[str] = ()) -> None:
    """Refuse a tokenizer whose ids go beyond the `rows` of the embedding table, `but` for tokens of pictures."""
    largest = max((number for name, number in tokenizer.get_vocab().items() if name not in but), default=0)
    if largest >= rows:
        raise DrakeError(
            f"the tokenizer of {where} has ids up to {largest}, the model embeddings for {rows} tokens; copy the "
            "tokenizer that belongs to the model."
        )


def check_picture(where: str, backbone: Backbone) -> None:
    """Encode one blank picture; refuse a checkpoint that cannot, or whose features do not fit its language model."""
    try:
        features = backbone.encoder.alone(Image.new("RGB", SAMPLE))
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # what fails here fails in transformers, with errors of many kinds
        raise DrakeError(
            f"{where} cannot encode a picture: its processor, vision tower and projector do not fit one another "
            f"({reason(error)}); restore its preprocessor_config.json and config.json."
        ) from error
    if features.ndim != 2 or features.shape[1] % backbone.hidden_size or not features.isfinite().all():
        raise DrakeError(
            f"{where} encodes a picture as {_shape(features.shape)} numbers where rows of {backbone.hidden_size} "
            "finite ones belong; restore its weights."
        )


def reason(error: BaseException) -> str:
    """What an error says, on one short line."""
    return " ".join(str(error).split())[:200].removesuffix(".") or type(error).__name__
