"""Commands about built datasets: `drake verify`, `info`, `peek`, `push`. Parse, call, print."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from drake.data.checks import Finding
    from drake.data.information import DatasetInformation
    from drake.data.verification import DatasetReport

MOST_MEMORY = 8 << 30
"""Bytes of memory that a command may take beyond those of its start: the last resort against a hostile file."""


@click.command()
@click.argument("dataset")
@click.option("--quick", is_flag=True, help="Compare sizes instead of hashes, and decode no picture.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def verify(dataset: str, quick: bool, as_json: bool) -> None:
    """Check a built dataset and list what is wrong with it. Nothing is written, and nothing in it is executed.

    DATASET: a folder, or the id of a dataset on the Hugging Face Hub, which is downloaded. Checked are hashes, columns,
    picture marks, pictures, gold answers, the balance of answers, records that are repeated within and across splits,
    and schedules.

    Exit code 0 when the dataset is sound, 1 when something is wrong, 2 when there is no dataset.

    \b
    Example:
      drake verify data/mini
      drake verify data/drake --quick
    """
    from drake.data.verification import verify as verified

    with progress_in_bytes("checking") as show, limited_memory(MOST_MEMORY):
        report = verified(dataset, quick=quick, progress=show)
    if as_json:
        click.echo(json.dumps(_as_json(report), indent=1, ensure_ascii=False))
    else:
        _print(report)
    sys.exit(1 if report.broken else 0)


def _as_json(report: DatasetReport) -> dict[str, object]:
    return {
        "dataset": str(report.folder),
        "name": report.name,
        "fingerprint": report.fingerprint,
        "sound": not report.broken,
        "quick": report.quick,
        "findings": [
            {"where": of, "what": found.what, "count": found.count, "example": found.example, "broken": found.broken}
            for of, findings in (("", report.findings), *((task.task, task.findings) for task in report.tasks))
            for found in findings
        ],
        "tasks": {
            task.task: {"metric": task.metric, "train": task.train, "test": task.test, "majority": task.majority}
            for task in report.tasks
        },
    }


def _print(report: DatasetReport) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if report.tasks:
        table = Table("task", "metric", "train", "test", "commonest answer", "findings")
        for task in report.tasks:
            state = "broken" if task.broken else str(len(task.findings) or "none")
            table.add_row(
                plain(task.task), task.metric, f"{task.train:,}", f"{task.test:,}", f"{100 * task.majority:.0f}%", state
            )
        console.print(table)
    if rows := _rows(report):
        findings = Table("", "where", "what", "count", "first", title="Findings", title_justify="left")
        for row in rows:
            findings.add_row(*map(plain, row))
        console.print(findings)
    if report.broken:
        click.echo(f"{report.folder} is not sound: see what is marked broken above.", err=True)
    else:
        done = "Hashes were not computed and pictures not decoded (--quick)." if report.quick else ""
        click.echo(f"{report.folder} is sound. {done}".rstrip())


def _rows(report: DatasetReport) -> list[tuple[str, ...]]:
    """A row for each kind of finding, broken ones first; tasks with the same one share it."""
    found = [(report.name or "dataset", finding) for finding in report.findings]
    found += [(task.task, finding) for task in report.tasks for finding in task.findings]
    kinds: dict[tuple[bool, str], list[tuple[str, Finding]]] = {}
    for where, finding in found:
        kinds.setdefault((not finding.broken, finding.what), []).append((where, finding))
    rows: list[tuple[str, ...]] = []
    for (note, what), alike in sorted(kinds.items(), key=lambda item: item[0][0]):
        where, first = alike[0]
        more = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
        count = f"{sum(finding.count for _, finding in alike):,}"
        rows.append(("note" if note else "broken", where + more, what, count, first.example))
    return rows


def plain(text: str) -> str:
    """A text from a dataset for a terminal: no control characters, no markup."""
    from rich.markup import escape

    return escape("".join(letter if letter.isprintable() else " " for letter in text))


@contextmanager
def progress_in_bytes(what: str) -> Iterator[Callable[[float, float, str], None]]:
    """A progress bar in bytes, with the time left, on the standard error output."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=60) as bars:
        bar = bars.add_task(what, total=None)
        yield lambda done, total, now: bars.update(bar, completed=done, total=total or None, description=plain(now))


@contextmanager
def limited_memory(most: int) -> Iterator[None]:
    """A block in which this process may take so many more bytes of memory; an allocation beyond that fails.

    Where the system has no such limit, there is none.
    """
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        before, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = pages * resource.getpagesize() + most
        if before != resource.RLIM_INFINITY:
            limit = min(limit, before)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    except (ImportError, OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))


@click.command()
@click.argument("dataset")
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
def info(dataset: str, as_json: bool) -> None:
    """Say what a built dataset is: its source, tasks, clients, records, pictures, licences, and how to open it.

    DATASET: a folder, or the id of a dataset on the Hugging Face Hub, of which the manifest alone is downloaded. No
    record is read, and nothing is checked but the sizes of files; `drake verify` does that.

    \b
    Example:
      drake info data/mini
      drake info data/mini --json
    """
    from drake.data.information import information

    with limited_memory(MOST_MEMORY):
        found = information(dataset)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=1, ensure_ascii=False))
    else:
        _print_information(found)


def _print_information(found: DatasetInformation) -> None:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Table

    facts = {
        "name": found.name,
        "source": f"{found.source}, revision {found.revision}, seed {found.seed}",
        "parameters": ", ".join(f"{name} {value}" for name, value in found.parameters.items()) or "none",
        "fingerprint": found.fingerprint,
        "licence": found.licence,
        "size": decimal(found.bytes),
        "clients": f"{len(found.clients)}, with {sum(map(len, found.clients))} tasks",
        "schedules": ", ".join(found.schedules),
    }
    console = Console()
    summary = Table(show_header=False, box=None)
    for name, value in facts.items():
        summary.add_row(name, plain(value))
    console.print(summary)
    table = Table("task", "client", "metric", "train", "test", "pictures", "bytes", "commercial use")
    for task in found.tasks:
        client = "public" if task.task == "public" else "unseen" if task.client is None else str(task.client)
        pictures = "" if task.pictures is None else f"{task.pictures:,}"
        size = "" if task.picture_bytes is None else decimal(task.picture_bytes)
        numbers = (f"{task.train:,}", f"{task.test:,}", pictures, size)
        table.add_row(plain(task.task), client, task.metric, *numbers, task.commercial)
    console.print(table)
    differing = {task.source: task.licence for task in found.tasks if task.licence != found.licence}
    for source, licence in differing.items():
        console.print(f"licence of {plain(source)}: {plain(licence)}")
    console.print("open it with:")
    for line in found.open_with:
        console.print(f"  {plain(line)}", soft_wrap=True)


@click.command()
@click.argument("dataset")
@click.argument("task", required=False)
@click.option("--split", type=click.Choice(["train", "test"]), default="train", show_default=True)
@click.option(
    "--records", type=click.IntRange(1), help="Records to draw of each task.  [default: 12 of a task, else 1]"
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The PNG to write.  [default: peek.png]")
def peek(dataset: str, task: str | None, split: str, records: int | None, out: Path | None) -> None:
    """Draw records of a dataset on a contact sheet: pictures as models see them, prompts and gold answers.

    DATASET: a folder, or the id of a dataset on the Hugging Face Hub, which is downloaded. TASK: a task, or public; one
    record of each task is drawn without it.

    \b
    Example:
      drake peek data/mini --out mini.png
      drake peek data/mini NLVR2-0 --split test --records 20
    """
    from drake.data.contact_sheet import peek as drawn

    path = out or Path("peek.png")
    with limited_memory(MOST_MEMORY):
        count = drawn(dataset, task, split=split, records=records, out=path)
    click.echo(f"wrote {path} with {count} record{'s' if count > 1 else ''}")


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.argument("repository", metavar="OWNER/NAME")
@click.option("--public", is_flag=True, help="Let everybody see a repository that is new.  [default: private]")
@click.option(
    "--quick", is_flag=True, help="Compare sizes instead of hashes, and decode no picture, before the upload."
)
@click.option("--message", help="Message of the commit.  [default: the dataset's name and fingerprint]")
def push(dataset: Path, repository: str, public: bool, quick: bool, message: str | None) -> None:
    """Check a dataset folder and upload it to the Hugging Face Hub, with its card and Croissant metadata.

    The dataset is checked as by `drake verify`, and its metadata by mlcroissant (pip install "drake-bench[push]"),
    before anything is sent. Everything arrives in one commit. `hf auth login` or HF_TOKEN gives access.

    \b
    Example:
      drake push data/mini my-name/drake-mini
      drake push data/signs my-name/street-signs --public
    """
    from drake.data.information import information
    from drake.data.pushing import push as pushed

    unclear = sorted({task.source for task in information(dataset).tasks if task.commercial == "unknown"})
    if public and unclear:
        click.echo(f"Note: the licences of these sources are unclear: {plain(', '.join(unclear))}.", err=True)
    with progress_in_bytes("checking") as show:
        address = pushed(dataset, repository, private=not public, quick=quick, message=message, progress=show)
    click.echo(address)
    click.echo(f"open it with drake.load({repository!r})")
