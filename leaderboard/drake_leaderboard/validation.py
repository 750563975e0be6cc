"""`drake validate`: everything that can be found out about a submission without running it again.

    validate(folder)            -> Verdict: what is refused, what is only said, and the results that were derived
    changed(root, against)      -> the submission folders that a pull request added or changed
    verdict_for_board(folder)   -> the same for the leaderboard, remembered by content on this machine

What is found is one sentence each. A folder is data: no path and no code that it names is opened or imported, sizes are
checked before anything is read, and an error that nobody foresaw is a refusal of this folder, not the end of all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from drake import catalog
from drake.common.files import cache_folder, replacing
from drake.common.outside import file_names, read_bytes, read_json, shown
from drake.errors import DrakeError
from drake.results import Results, load, verify
from drake.results.dataset import NoDataset, dataset_of

from . import costs, ranges, schedule, settings
from .answers import Answers
from .claims import Claims
from .reviewed import entry, ticket_digest
from .tickets import MOST_BYTES, MOST_FILE, TICKET, check_facts, read_ticket


@dataclass
class Verdict:
    """refused: why it may not stand on the board. said: what a reader should know. checked: whether its answers were
    scored again; not where the dataset is not here (`unchecked` says so). results: those that were read."""

    folder: Path
    refused: list[str] = field(default_factory=list[str])
    said: list[str] = field(default_factory=list[str])
    checked: bool = False
    results: Results | None = None


def validate(folder: Path, data: Path | str | None = None, others: Iterable[Path] = ()) -> Verdict:
    """Check one submission folder. others: submissions that its answers are compared with."""
    found = Verdict(folder)
    try:
        _check(found, data)
        if found.checked:
            _compare(found, others)
    except NoDataset as error:
        found.said.append(f"not scored again: {error}")
    except DrakeError as error:
        found.refused.append(str(error))
    except Exception as error:  # of a hostile folder; the others must still be judged
        found.refused.append(f"{shown(folder)} cannot be checked ({type(error).__name__}: {shown(error)}).")
    return found


def _check(found: Verdict, data: Path | str | None) -> None:
    folder = found.folder
    ticket = read_ticket(folder)
    found.results = load(folder)
    if found.results.status != "complete":
        raise DrakeError(f"the run {folder} is {found.results.status}, not complete; submit it when it is.")
    source, path = found.results.data.source, found.results.data.path
    if path is None and source not in {known.stand_in for known in catalog.benchmarks().values()}:
        raise DrakeError(
            f"{folder}: data.source is {source!r}, but without a data.path the data are the mini suite of a benchmark."
        )
    dataset_of(found.results, data)  # NoDataset before anything is scored
    _, answers, unchecked = verify(folder, data, named_folders=False)  # so the scores in `results` are right
    results, found.checked = found.results, True
    found.refused += [f"{folder}: {wrong}." for wrong in check_facts(ticket, results, answers, folder)]
    found.refused += [f"{folder}: {wrong}." for wrong in refusals(folder, results, data)]
    if found.refused:
        return
    claims = Claims(results, dataset_of(results, data))
    found.said += [f"{folder}: {sentence}." for sentence in _said(folder, claims, unchecked)]


def refusals(folder: Path, results: Results, data: Path | str | None) -> list[str]:
    """What contradicts itself, the schedule, the method or the other seeds, in a folder whose scores were derived."""
    claims = Claims(results, dataset_of(results, data))
    if not (wrong := list(settings.shapes(claims))):
        wrong = [
            *ranges.contradictions(claims),
            *settings.contradictions(claims),
            *schedule.contradictions(claims),
        ]
    if not wrong:  # the costs follow from settings that were just found to be sound
        wrong += costs.contradictions(claims)
    return wrong + list(Answers(folder, results).contradictions())


def _said(folder: Path, claims: Claims, unchecked: Iterable[str]) -> Iterable[str]:
    yield from settings.unusual(claims)
    yield from ranges.newer(claims)
    if strange := settings.strange_keys(claims):
        yield f"config has the key {strange[0]!r}, which no setting of drake has; it is the method's own"
    yield from costs.unchecked(claims)
    for model in unchecked:
        yield f"the tokenizer of {model!r} is not here, so token ids were only compared with each other"
    if any(run.aggregated for run in claims.results.runs) and not (folder / "aggregated").is_dir():
        yield "the scores after the aggregation are not proved, since their answers are not in the folder"


def _compare(found: Verdict, others: Iterable[Path]) -> None:
    """Say whose answers these are, too."""
    assert found.results is not None
    mine = Answers(found.folder, found.results)
    found.said += [f"{found.folder}: {sentence}." for sentence in mine.suspicions()]
    for other in others:
        if other.resolve() == found.folder.resolve():
            continue
        try:
            theirs = _answers(other, ticket_digest(other))
            said = [*mine.copied_from(theirs), *mine.other_start(theirs)]
            said += costs.unlike(found.results, theirs.results, other.name)
        except (DrakeError, IndexError):  # a broken one is another's finding
            continue
        found.said += [f"{found.folder}: {sentence}." for sentence in said]


@lru_cache(maxsize=1000)
def _answers(folder: Path, digest: str) -> Answers:
    """Of a submission whose ticket has this digest; read once in a command."""
    return Answers(folder, load(folder))


def submissions(root: Path) -> list[Path]:
    """The submission folders at or below a folder, sorted; folders whose ticket is no file too."""
    if not root.is_dir():
        raise DrakeError(f"{root} is no folder; name a submission, or a folder that holds some.")
    return sorted({path.parent for path in root.rglob(TICKET)})


def changed(root: Path, against: Path) -> list[Path]:
    """The folders directly below `root` that differ from those of the same name below `against`, the tree before a
    pull request. Folders without a ticket are among them: they are refused."""
    if not root.is_dir() or not against.is_dir():
        raise DrakeError(f"{root if against.is_dir() else against} is no folder; name folders of submissions.")
    return sorted(path for path in root.iterdir() if _print(path) != _print(against / path.name))


def _print(path: Path) -> str:
    """A hash over names and contents; of what cannot be read, its reason."""
    try:
        if not path.is_dir() or path.is_symlink():
            return "a link" if path.is_symlink() else f"no folder {path.exists()}"
        found = hashlib.sha256()
        for name in sorted(file_names(path)):
            found.update(f"{name}\0".encode() + hashlib.sha256(read_bytes(path / name, MOST_FILE)).digest())
        return found.hexdigest()
    except DrakeError as error:
        return str(error)


def report(
    paths: Iterable[Path],
    data: Path | str | None = None,
    against: Path | None = None,
    rerun: Sequence[int] | None = None,
) -> Iterator[str]:
    """The lines of `drake validate`: "refused: ..." and "note: ..." with a sentence each, and a last one per folder.

    against: the submissions before a pull request. rerun: seeds to train again, none for the first of each submission;
    None to train nothing.
    """
    for path in paths:
        folders = submissions(path) if against is None else changed(path, against)
        if not folders:
            yield f"{path} holds no submission" + (" that changed." if against else ".")
        for folder in folders:
            found = validate(folder, data, _others(folder, against))
            yield from (f"refused: {sentence}" for sentence in found.refused)
            yield from (f"note: {sentence}" for sentence in found.said)
            if found.refused:
                continue
            yield f"{folder}: " + ("every number follows from its answers." if found.checked else "not scored again.")
            if rerun is not None and found.checked and found.results is not None:
                yield from _run_again(folder, found.results, rerun, data)


def _run_again(folder: Path, results: Results, seeds: Sequence[int], data: Path | str | None) -> Iterator[str]:
    from .rerun import differences  # here: it loads PyTorch

    for seed in seeds or [results.runs[0].seed]:
        try:
            wrong = differences(folder, results, seed, data)
        except DrakeError as error:
            yield f"note: not run again: {error}"
            return
        yield from (f"refused: {folder}: {sentence}." for sentence in wrong)
        if wrong:
            return
        yield f"{folder}: seed {seed} trained again gives the same bits."
    yield entry(folder, list(seeds) or [results.runs[0].seed], version("drake-bench"), datetime.now(UTC).date())


def _others(folder: Path, against: Path | None) -> list[Path]:
    """The submissions whose answers this one must not have: the bundled ones, its neighbours, those before."""
    places = [Path(str(files("drake_leaderboard"))) / "submissions", folder.parent, against]
    found = [path for place in places if place is not None for path in sorted(place.glob(f"*/{TICKET}"))]
    return [path.parent for path in found if path.parent.name != folder.name]


def verdict_for_board(folder: Path) -> Verdict:
    """The verdict on a submission, kept in the cache folder under the hash of all its files and of the code that
    judges: a board of many submissions does not score them again each time."""
    try:
        read_ticket(folder)
        key = hashlib.sha256(f"{_print(folder)} {_code()}".encode()).hexdigest()
    except (DrakeError, OSError) as error:
        return Verdict(folder, refused=[str(error)])
    kept = cache_folder() / "verdicts" / f"{key}.json"
    if kept.exists():
        known: dict[str, Any] = read_json(kept, MOST_BYTES)
        return Verdict(folder, list(known["refused"]), list(known["said"]), bool(known["checked"]))
    found = validate(folder)
    if found.checked or found.refused:
        try:
            with replacing(kept) as temporary:
                temporary.write_text(
                    json.dumps({"refused": found.refused, "said": found.said, "checked": found.checked})
                )
        except DrakeError:  # no cache folder here: it is judged again the next time
            found.said.append("the verdict could not be kept in the cache folder")
    return found


@cache
def _code() -> str:
    """Of the modules that judge; and the version of drake."""
    here = Path(__file__).parent
    found = hashlib.sha256(version("drake-bench").encode())
    for name in ("answers", "claims", "costs", "ranges", "schedule", "settings", "tickets", "validation"):
        found.update((here / f"{name}.py").read_bytes())
    return found.hexdigest()
