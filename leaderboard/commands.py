"""The commands of this room, found by `drake` through the entry points "drake.commands". Parse, call, print."""

from __future__ import annotations

from pathlib import Path

import click

FORMATS = ("table", "markdown", "csv", "html")


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--format", "format_", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file instead of printing.")
@click.option("--published/--no-published", default=True, show_default=True, help="Show the published results too.")
def leaderboard(paths: tuple[Path, ...], format_: str, out: Path | None, published: bool) -> None:
    """Rank runs and submissions.

    PATHS are run folders, submission folders, or folders that hold such; without any, the bundled submissions and
    ./runs. One table per track (data, schedule, backbones, preset), best Self A_last first.

    \b
    Example:
      drake leaderboard runs/sft runs/fedmosaic --format html --out board.html
    """
    from rich.console import Console

    from drake.files import replacing

    from . import ranking

    board = ranking.collect(paths or ranking.default_paths(), published)
    for note in board.left_out:
        click.echo(f"note: {note}", err=True)
    if format_ == "table" and out is None:
        if board.tables:
            console = Console()
            console.print(ranking.as_rich(board, console.width))
        else:
            click.echo("nothing to rank yet; run `drake eval` first, or drop --no-published.")
        return
    text = {
        "table": ranking.as_text,
        "markdown": ranking.as_markdown,
        "csv": ranking.as_csv,
        "html": ranking.as_html,
    }[format_](board)
    if out is None:
        click.echo(text, nl=not text.endswith("\n"))
        return
    with replacing(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    click.echo(f"wrote {out}")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder to write; must not exist.  [default: submissions/<RUN's name>]",
)
@click.option("--data", help="Dataset folder or repository.  [default: what the run names; a mini suite is rebuilt]")
def submit(run: Path, out: Path | None, data: str | None) -> None:
    """Check a run and make a submission of it.

    All answers of RUN are scored again with the gold answers of the dataset. If any number of its results.json
    disagrees, or an answer is missing or extra, nothing is written.

    \b
    Example:
      drake submit runs/fedmosaic --out submissions/fedmosaic
    """
    from .submission import submit as write_submission

    written = write_submission(run, out or Path("submissions") / run.resolve().name, data)
    click.echo(f"every score follows from the answers; wrote {written}")


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--data", help="Dataset folder or repository.  [default: what the run names; a mini suite is rebuilt]")
@click.option("--write", is_flag=True, help="Store the scores that the present rules give, and show what changed.")
def score(path: Path, data: str | None, write: bool) -> None:
    """Score the stored answers of a run or submission again, without a model.

    Every score and average is computed anew from the generated texts and the gold answers. If any number of
    results.json disagrees, or a file of a submission was changed, that is the error. With --write, for runs that were
    scored by an earlier version, the new marks and scores replace the stored ones instead.

    \b
    Example:
      drake score leaderboard/submissions/mini-sft
    """
    from rich.console import Console

    from drake.terminal import summary_table

    if write:
        from .rescoring import rescore

        found = rescore(path, data)
        results = found.after
        click.echo(f"{found.changed} of {found.answers} answers are marked otherwise.")
        for protocol, values in results.summary.items():
            for name in ("self_last", "self_auc", "others_last", "others_auc"):
                old, new = found.before.summary[protocol][name].mean, values[name].mean
                if old != new:
                    click.echo(f"{protocol} {name}: {_percent(old)} -> {_percent(new)}")
    else:
        from .submission import TICKET, check, verify

        results = check(path, data) if (path / TICKET).exists() else verify(path, data).results
    Console().print(summary_table(results))
    click.echo("every score follows from the answers.")


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{100 * value:.2f}"
