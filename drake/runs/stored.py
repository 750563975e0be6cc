"""What decides the result of a stored run, read back for `drake export`.

A run folder may come from anybody, so the file is validated before anything in it is used; what it names is not
imported here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from drake.common.files import read_json_object
from drake.config import Training
from drake.errors import DrakeError
from drake.runs.folder import identity_path


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Numbers(_Part):
    """Of the preset, as far as a client's model depends on them."""

    training: Training


class StoredRun(_Part):
    """The part of a run's identity (`Setup.identity`) that says how a client's model is made.

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
    def _revisions_of_all(self) -> StoredRun:
        if missing := set(self.assignment) - self.revisions.keys():
            raise ValueError(f"revisions lacks {sorted(missing)[0]!r}")
        return self


def read_stored(run: Path) -> StoredRun:
    """What decides the result of the run in a folder; DrakeError for a folder that holds no run, and for contents that
    no run can have."""
    path = identity_path(run)
    if not path.is_file():
        raise DrakeError(f"{run} holds no run of `drake eval`; name its --out folder.")
    try:
        return StoredRun.model_validate(read_json_object(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise DrakeError(
            f"{path} does not describe a run of `drake eval`: {where}: {first['msg']}; restore it."
        ) from error
