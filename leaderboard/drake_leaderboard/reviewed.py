"""How far the rows of the board were checked, and by whom: `reviewed.toml` and what this machine did itself."""

from __future__ import annotations

import hashlib
import tomllib
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from drake.common.outside import read_bytes

from .tickets import MOST_BYTES, TICKET

How = Literal["rerun", "re-scored"]

RERUN, RESCORED, UNCHECKED, PUBLISHED = "rerun", "re-scored", "not checked", "published"
"""Seeds were trained again with the same bits; the answers were scored again; neither; copied from a paper."""


class Review(BaseModel):
    """An entry of reviewed.toml. sha256: of the submission's submission.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sha256: str
    how: How
    seeds: list[int] = []
    drake: str
    date: date


@cache
def reviews() -> dict[str, Review]:
    """SHA-256 of a ticket -> its entry."""
    text = (files("drake_leaderboard") / "reviewed.toml").read_text(encoding="utf-8")
    found = [Review.model_validate(entry) for entry in tomllib.loads(text).get("submission", [])]
    return {review.sha256: review for review in found}


def ticket_digest(folder: Path) -> str:
    """SHA-256 of the folder's submission.json."""
    return hashlib.sha256(read_bytes(folder / TICKET, MOST_BYTES)).hexdigest()


def mark(folder: Path, checked: bool) -> str:
    """The mark of a submission that was not refused. checked: whether its answers were scored again here."""
    review = reviews().get(ticket_digest(folder))
    if review is not None and review.how == RERUN and checked:
        return RERUN
    return RESCORED if checked or review is not None else UNCHECKED


def entry(folder: Path, seeds: list[int], version: str, today: date) -> str:
    """The lines of reviewed.toml for a submission that was run again."""
    return (
        f'[[submission]]\nname = "{folder.resolve().name}"\nsha256 = "{ticket_digest(folder)}"\nhow = "rerun"\n'
        f'seeds = {seeds}\ndrake = "{version}"\ndate = {today.isoformat()}\n'
    )
