"""Run folders read back: the identity for `drake export`, the configuration for `drake eval --resume`.

A run folder may come from anybody. So files are validated before anything in them is used, code is imported only where
the user names it too, and nothing is written to places that only the folder names.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from drake.common.files import read_json_object
from drake.config import Training
from drake.config.schema import OF_BACKBONES, LoadIn, Pictures, Prompts, known_settings
from drake.config.values import check_range
from drake.errors import DrakeError
from drake.runs.folder import identity_path


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Numbers(_Part):
    """The numbers of a run that a client's model depends on."""

    training: Training

    @model_validator(mode="after")
    def _in_range(self) -> Numbers:
        for name, value in asdict(self.training).items():
            try:
                check_range(name, value, known_settings()[f"training.{name}"].setting)
            except DrakeError as error:
                raise ValueError(str(error).removesuffix(".")) from error
        return self


class StoredRun(_Part):
    """The part of a run's identity (`Setup.identity`) that determines how a client's model is made.

    assignment: the backbone of each client. revisions: of every backbone.
    """

    method: str
    options: dict[str, JsonValue]
    numbers: Numbers
    assignment: Annotated[list[str], Field(min_length=1)]
    revisions: dict[str, str]
    seeds: Annotated[list[Annotated[int, Field(strict=True, ge=0)]], Field(min_length=1)]
    dtype: Literal["float32", "bfloat16"]
    prompts: Prompts = "auto"
    pictures: Pictures = "auto"
    load_in: LoadIn = "full"
    evaluation_rounds: Annotated[list[Annotated[int, Field(strict=True, ge=1)]], Field(min_length=1)]

    @property
    def of_backbones(self) -> dict[str, Any]:
        """As `Config.of_backbones`."""
        return {name: getattr(self, name) for name in OF_BACKBONES}

    @model_validator(mode="after")
    def _revisions_of_all(self) -> StoredRun:
        if missing := set(self.assignment) - self.revisions.keys():
            raise ValueError(f"revisions lacks {sorted(missing)[0]!r}")
        return self


def read_stored(run: Path) -> StoredRun:
    """What decides the result of the run in a folder; DrakeError for a folder that holds no run, and for contents that
    no run can have."""
    path = identity_path(run)
    if not path.exists():
        raise DrakeError(f"{run} holds no run of `drake eval`; name its --out folder.")
    try:
        return StoredRun.model_validate(read_json_object(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise DrakeError(
            f"{path} does not describe a run of `drake eval`: {where}: {first['msg']}; restore it."
        ) from error
