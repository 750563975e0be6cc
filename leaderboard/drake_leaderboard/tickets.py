"""The ticket of a submission, `submission.json`: who submits what, and the SHA-256 of every other file.

The facts about the run are there for readers; all are compared with the results. What only the submitter knows (name,
authors, link, repository) is text of bounded length, and shown as such.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from drake.common.files import replacing
from drake.common.look_alikes import disguise
from drake.common.outside import checked_text, checked_texts, file_names, read_bytes, read_json, shown
from drake.errors import DrakeError
from drake.results import FILE, Results
from drake.results.rescoring import prediction_files

TICKET = "submission.json"
MOST_BYTES = 4 << 20
MOST_FILE = 256 << 20
"""Bytes of one file of a submission."""
MOST_AUTHORS = 100


class About(BaseModel):
    """What the submitter says. name: of the entry. authors: people. link: an https page (paper, code). repo_id: a
    repository on the Hugging Face Hub with the weights."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str = ""
    authors: list[str] = []
    link: str = ""
    repo_id: str = ""


class Ticket(About):
    """The content of submission.json. finished: null cannot be, since only complete runs are submitted."""

    method: str
    reference: str
    benchmark: str
    fingerprint: str
    split: str
    preset: str
    seeds: list[int]
    answers: Annotated[int, Field(ge=0)]
    tokens_unchecked: list[str]
    finished: str
    sha256: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]


def about(name: str = "", authors: Sequence[str] = (), link: str = "", repo_id: str = "") -> About:
    """What the submitter says, checked; DrakeError for a text that cannot be shown and a link that is not https."""
    found = About(name=name.strip(), authors=[author.strip() for author in authors], link=link, repo_id=repo_id)
    check_about(found)
    return found


def check_about(found: About) -> None:
    """DrakeError for the first field that is not what it should be."""
    if found.name:
        checked_text(found.name, "the name of the submission", 80)
        if reason := disguise(found.name):
            raise DrakeError(
                f"the name of the submission, {shown(found.name)!r}, {reason}; write it in plain letters of one "
                "alphabet."
            )
    for what, text in (("the name", found.name), *(("an author", author) for author in found.authors)):
        if text != " ".join(text.split()):
            raise DrakeError(
                f"{what} of the submission, {shown(text)!r}, has spaces at an end, several in a row or of another "
                "kind; write single plain spaces between words."
            )
    if len(found.authors) > MOST_AUTHORS:
        raise DrakeError(f"the submission has {len(found.authors)} authors, more than {MOST_AUTHORS}; name the group.")
    for author in found.authors:
        checked_text(author, "an author of the submission", 100)
    if found.link:
        check_link(found.link)
    if found.repo_id and not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", found.repo_id, re.ASCII):
        raise DrakeError(f"the repository {shown(found.repo_id)!r} is not of the form owner/name; correct --repo-id.")


def check_link(link: str) -> None:
    """DrakeError unless the link is a plain https address of a named host."""
    refused = DrakeError(
        f"the link {shown(link, 100)!r} is no plain https address (https://host/path, at most 500 characters, no "
        "spaces, quotes, brackets, user names or other schemes); correct --link."
    )
    if len(link) > 500 or not re.fullmatch(r"https://[A-Za-z0-9.-]+(:\d{1,5})?(/[A-Za-z0-9._~!$&+,;=:@%/?#-]*)?", link):
        raise refused
    try:
        host, _ = urlsplit(link).hostname, urlsplit(link).port  # ValueError for a port above 65,535
    except ValueError as error:
        raise refused from error
    if not host or "." not in host.strip(".") or not host.strip(".").rpartition(".")[2].isalpha():  # no IP address
        raise refused


def new_ticket(results: Results, answers: int, unchecked: Sequence[str], folder: Path, said: About) -> dict[str, Any]:
    """The content of the ticket of the submission whose other files lie in `folder`."""
    return said.model_dump() | {
        **facts(results),
        "answers": answers,
        "tokens_unchecked": list(unchecked),
        "sha256": {name: sha256(folder / name) for name in [FILE, *sorted(answer_files(folder, results))]},
    }


def facts(results: Results) -> dict[str, Any]:
    """What the ticket repeats of the results."""
    return {
        "method": results.method.name,
        "reference": results.method.reference,
        "benchmark": results.data.name,
        "fingerprint": results.data.fingerprint,
        "split": results.data.split,
        "preset": results.preset,
        "seeds": [run.seed for run in results.runs],
        "finished": results.finished,
    }


def answer_files(folder: Path, results: Results) -> set[str]:
    """The prediction files of a submission: those of the run, and those after the aggregation where it has them."""
    found = {file.as_posix() for file in prediction_files(results)}
    if (folder / "aggregated").is_dir():
        found |= {f"aggregated/{name}" for name in found if not name.endswith("/point-0.parquet")}
    return found


def read_ticket(folder: Path | str) -> dict[str, Any]:
    """The content of submission.json. DrakeError when it is missing or no ticket, when a file differs from its digest
    there, and for a file that the ticket does not name; links, pipes and devices are refused."""
    folder = Path(folder)
    path = folder / TICKET
    if not path.is_symlink() and not path.exists():
        raise DrakeError(f"{folder} holds no {TICKET}; make the folder with `drake submit`.")
    found = read_json(path, MOST_BYTES)
    checked_texts(found, str(path))
    try:
        ticket = Ticket.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise DrakeError(
            f"{path} cannot be read ({shown(where)}: {first['msg']}); make it again with `drake submit`."
        ) from error
    check_about(ticket)
    present = file_names(folder) - {TICKET}
    if missing := sorted(set(ticket.sha256) - present):
        raise DrakeError(f"{folder} lacks {len(missing)} files, the first {missing[0]}; submit the run again.")
    if extra := sorted(present - set(ticket.sha256)):
        raise DrakeError(f"{folder} holds {len(extra)} files more than were submitted, first {extra[0]}; remove them.")
    for name, digest in ticket.sha256.items():
        if sha256(folder / name) != digest:
            raise DrakeError(f"{folder / name} was changed after it was submitted (sha256); submit the run again.")
    return found


def check_facts(ticket: dict[str, Any], results: Results, answers: int, folder: Path) -> list[str]:
    """What the ticket says otherwise than the results, one sentence each."""
    due = facts(results) | {"answers": answers}
    found = [
        f"submission.json says {name} {ticket[name]!r}, the results {value!r}"
        for name, value in due.items()
        if ticket[name] != value or type(ticket[name]) is not type(value)
    ]
    names = {FILE, *answer_files(folder, results)}
    if odd := sorted(names ^ set(ticket["sha256"])):
        found.append(f"submission.json {'names' if odd[0] not in names else 'lacks'} {odd[0]}, unlike the run")
    if strangers := sorted(set(ticket["tokens_unchecked"]) - set(results.models.names)):
        found.append(f"submission.json names {strangers[0]!r} in tokens_unchecked, which is no backbone of the run")
    return found


def write_ticket(folder: Path, ticket: dict[str, Any]) -> None:
    """Write submission.json, whole or not at all."""
    with replacing(folder / TICKET) as temporary:
        temporary.write_text(json.dumps(ticket, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """Of a regular file's bytes, in hexadecimal."""
    return hashlib.sha256(read_bytes(path, MOST_FILE)).hexdigest()
