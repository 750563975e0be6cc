"""Token ids of open-ended answers, checked against the tokenizer of the model that is claimed to have answered.

The official F1 is computed from ids, not from texts, so wrong ids would give a wrong score for a right text. Called
when stored answers are scored again.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from drake.catalog import models as catalog_models
from drake.common import own_paths
from drake.common.outside import shown
from drake.errors import DrakeError
from drake.models.prompts import gold_ids
from drake.scoring.predictions import Prediction

MOST_ID = 10_000_000
"""Above the ids of any vocabulary."""


class TokenCheck:
    """Compares ids with texts, by the tokenizers that are on this machine; nothing is downloaded.

    `unchecked` names the models whose tokenizer is not here: for them only what needs no tokenizer is compared, namely
    that the same ids always stand for the same text, and the same gold answer for the same ids.
    """

    def __init__(self, revisions: dict[str, str], folders: bool = True) -> None:
        """revisions: of the models, by name. folders: whether a model may be a folder of this machine with which a run
        was begun here; others are not opened, because only a file names them."""
        self._mine = own_paths.kept() if folders else set[str]()
        self._may: dict[str, bool] = {}
        self.unchecked: set[str] = set()
        self._revisions = revisions
        self._texts: dict[tuple[str, tuple[int, ...]], str] = {}
        self._golds: dict[tuple[str, str], tuple[int, ...]] = {}

    def verify(self, row: Prediction, model: str, where: str) -> None:
        """DrakeError when the row's ids are missing or do not belong to its texts."""
        if row.predicted_ids is None or row.gold_ids is None:
            raise DrakeError(f"{where}: an open-ended answer needs its token ids; restore what the run wrote.")
        predicted, gold = tuple(row.predicted_ids), tuple(row.gold_ids)
        text, ids = (
            self._texts.setdefault((model, predicted), row.text),
            self._golds.setdefault((model, row.gold), gold),
        )
        tokenizer = _tokenizer(model, self._revisions.get(model), self._may_open(model))
        if any(not 0 <= one < MOST_ID for one in (*predicted, *gold)):
            raise DrakeError(f"{where}: a token id is no id of a vocabulary; restore what the run wrote.")
        if tokenizer is None:
            self.unchecked.add(model)
        else:
            text = tokenizer.decode(predicted, skip_special_tokens=True).strip()
            ids = tuple(gold_ids(tokenizer, row.gold))
        if text != row.text:
            raise DrakeError(f"{where}: the token ids stand for {shown(text)!r}, the text is {shown(row.text)!r}.")
        if ids != gold:
            raise DrakeError(
                f"{where}: the token ids {shown(list(gold))} are not those of the gold answer {shown(row.gold)!r}."
            )

    def _may_open(self, model: str) -> bool:
        """Whether the model may be a folder."""
        if model not in self._may:
            self._may[model] = own_paths.key(model) in self._mine
        return self._may[model]


@cache
def _tokenizer(model: str, revision: str | None, folders: bool) -> Any | None:
    """The tokenizer of an embedded model, a checkpoint folder or a repository in the local hub cache, or None."""
    from transformers import AutoTokenizer

    from drake.models.checkpoint_files import is_text_only
    from drake.models.checkpoints import WEIGHTS_FOLDER, embedded
    from drake.models.text_only import read_tokenizer

    known = catalog_models()
    if model in embedded():
        source, revision = str(WEIGHTS_FOLDER / model), None
    elif (folder := Path(model).expanduser()).is_dir():
        if not folders:
            return None
        if is_text_only(folder):
            return read_tokenizer(folder)
        source, revision = str(folder), None
    else:
        source = (known[model].hub_id if model in known else None) or model
    try:
        return AutoTokenizer.from_pretrained(
            source, revision=revision or "main", local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError):  # what transformers raises for files that are not on this machine
        return None
