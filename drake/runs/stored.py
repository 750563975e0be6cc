"""RUN/config.json read back, for `drake export`. A run folder may come from anybody, so this is validated before
anything in it is used; what it names is not imported here."""

from __future__ import annotations

import os.path
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from drake.errors import DrakeError
from drake.config import Training
from drake.common.files import read_json_object


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Numbers(_Part):
    """Of the preset, as far as a client's model depends on them."""

    training: Training


class StoredConfig(_Part):
    """The part of a config (`Setup.config`) that says how a client's model is made.

    assignment: the backbone of each client. revisions: of every backbone.
    """

    method: str
    options: dict[str, JsonValue]
    numbers: Numbers
    assignment: Annotated[list[str], Field(min_length=1)]
    revisions: dict[str, str]
    seeds: Annotated[list[Annotated[int, Field(strict=True, ge=0)]], Field(min_length=1)]
    dtype: Literal["float32", "bfloat16"]
    evaluation_rounds: Annotated[list[Annotated[int, Field(strict=True, ge=1)]], Field(min_length=1)]

    @model_validator(mode="after")
    def _revisions_of_all(self) -> StoredConfig:
        if missing := set(self.assignment) - self.revisions.keys():
            raise ValueError(f"revisions lacks {sorted(missing)[0]!r}")
        return self


def read_config(run: Path) -> StoredConfig:
    """The config of a run folder; DrakeError for a folder that holds no run, and for a config that none can have."""
    path = run / "config.json"
    if not os.path.isfile(path):
        raise DrakeError(f"{run} holds no run of `drake eval`; name its --out folder.")
    stored: dict[str, Any] = read_json_object(path)
    try:
        return StoredConfig.model_validate(stored)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise DrakeError(
            f"{path} is no config of a run of `drake eval`: {where}: {first['msg']}; restore it."
        ) from error
