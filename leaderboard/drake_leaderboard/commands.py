"""The commands of the leaderboard, found by `drake` through the entry points "drake.commands". Parse, call, print."""

from __future__ import annotations

from pathlib import Path

import click

from drake.cli.params import SEEDS

FORMATS = ("table", "markdown", "csv", "json", "html", "latex")


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--format", "format_", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file instead of printing.")
@click.option("--published/--no-published", default=True, show_default=True, help="Show the published results too.")
@click.option("--sort", metavar="COLUMN", help="Order by a column, best first.  [default: Self A_last]")
@click.option(
    "--answers/--no-answers",
    default=True,
    show_default=True,
    help="Read the stored answers, for tie groups, gains over SFT and weighted means.",
)
@click.option("--plots", type=click.Path(file_okay=False, path_type=Path), help="Draw tie groups and differences here.")
@click.option("--site", type=click.Path(path_type=Path), help="Write a static site into this folder, a page per row.")
@click.option("--data", help="With --site: dataset of the runs, for questions and pictures.  [default: the mini suite]")
def leaderboard(
    paths: tuple[Path, ...],
    format_: str,
    out: Path | None,
    published: bool,
    sort: str | None,
    answers: bool,
    plots: Path | None,
    site: Path | None,
    data: str | None,
) -> None:
    """Rank runs and submissions.

    PATHS are run folders, submission folders, or folders that hold such; without any, the bundled submissions and
    ./runs. One table per track (data, schedule, backbones, preset, moment of evaluation), best Self A_last first, and a
    second one of what federation is worth.

    \b
    Example:
      drake leaderboard runs/sft runs/fedmosaic --format html --out board.html
      drake leaderboard runs/* --sort worst_client --plots figures
      drake leaderboard --site site
    """
    from rich.console import Console

    from drake.common.files import replacing

    from . import formats, ranking, terminal
    from .columns import column_of

    if sort is not None:
        column_of(sort)  # an unknown name ends here, before anything is read
    if plots is not None and not answers:
        raise click.UsageError("--plots draws what follows from the answers; leave out --no-answers.")
    if site is None and data is not None:
        raise click.UsageError("--data goes with --site.")
    if site is not None and out is not None:
        raise click.UsageError("--site writes a folder and --out a file; give one of them.")
    if site is not None:
        from .site.build import check_target

        check_target(site)
    board = ranking.collect(paths or ranking.default_paths(), published)
    for note in board.left_out:
        click.echo(f"note: {note}", err=True)
    if answers:
        from .standing import judged  # here: it loads scipy

        board = judged(board)
    if plots is not None:
        from .figures import draw

        drawn = draw(board, plots)
        click.echo("\n".join(f"wrote {path}" for path in drawn) or "no track has two rows to compare.", err=True)
    if sort is not None:
        board = ranking.by_column(board, sort)
    if site is not None:
        from .site import write_site

        pages = write_site(board, site, data)
        click.echo(f"wrote {site / 'index.html'} and {pages - 1} pages of submissions")
        return
    if format_ == "table" and out is None:
        if board.tables:
            console = Console()
            console.print(terminal.as_rich(board, console.width))
        else:
            click.echo("nothing to rank yet; run `drake eval` first, or drop --no-published.")
        return
    text = {
        "table": terminal.as_text,
        "markdown": formats.as_markdown,
        "csv": formats.as_csv,
        "json": formats.as_json,
        "html": formats.as_html,
        "latex": formats.as_latex,
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
@click.option("--data", help="Dataset folder or repository of the run.  [default: the embedded mini suite]")
@click.option("--name", default="", help="Name of the entry.  [default: the method's]")
@click.option("--authors", default="", help="Who submits it, separated by semicolons.")
@click.option("--link", default="", help="An https page about it: a paper, code.")
@click.option(
    "--repo-id", default="", metavar="OWNER/NAME", help="Repository on the Hugging Face Hub with the weights."
)
def submit(run: Path, out: Path | None, data: str | None, name: str, authors: str, link: str, repo_id: str) -> None:
    """Check a run and make a submission of it.

    All answers of RUN are scored again with the gold answers of the dataset, and every other number is derived from the
    settings and the method. If any number of its results.json disagrees, or an answer is missing or extra, nothing is
    written.

    \b
    Example:
      drake submit runs/fedmosaic --name "FedMosaic, rank 16" --authors "A. Author; B. Author" --out submissions/mine
    """
    from .submission import submit as write_submission
    from .tickets import about

    said = about(name, [author for author in authors.split(";") if author.strip()], link, repo_id)
    written = write_submission(run, out or Path("submissions") / run.resolve().name, data, said)
    click.echo(f"every score follows from the answers; wrote {written}")


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--data", help="Dataset folder or repository of the run.  [default: the embedded mini suite]")
@click.option("--write", is_flag=True, help="Store the scores that the present rules give, and show what changed.")
def score(path: Path, data: str | None, write: bool) -> None:
    """Score the stored answers of a run or submission again, without a model.

    Every score and average is computed again from the generated texts and the gold answers. The command fails where a
    number of results.json disagrees or a file of a submission was changed. With --write, for runs that an earlier
    version scored, the new marks and scores replace the stored ones instead.

    \b
    Example:
      drake score leaderboard/drake_leaderboard/submissions/mini-sft
    """
    from rich.console import Console

    from drake.cli.tables import summary_table
    from drake.results import verify

    from .submission import TICKET, check

    if write:
        from .rescoring import store_rescored

        found = store_rescored(path, data)
        results = found.after
        click.echo(f"{found.changed} of {found.answers} answers have new marks.")
        for protocol, values in results.summary.items():
            for name in ("self_last", "self_auc", "others_last", "others_auc"):
                old, new = found.before.summary[protocol][name].mean, values[name].mean
                if old != new:
                    click.echo(f"{protocol} {name}: {_percent(old)} -> {_percent(new)}")
    else:
        results = check(path, data) if (path / TICKET).exists() else verify(path, data).results
    Console().print(summary_table(results))
    click.echo("every score follows from the answers.")


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{100 * value:.2f}"


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--data", help="Dataset folder or repository of the runs.  [default: the embedded mini suite]")
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    help="The folder of submissions before a pull request; only folders that differ from it are checked.",
)
@click.option("--rerun", is_flag=True, help="Also train seeds again and compare the answers bit for bit (CPU tracks).")
@click.option("--seeds", type=SEEDS, help="Seeds to train again.  [default: the first of each submission]")
def validate(
    paths: tuple[Path, ...], data: str | None, against: Path | None, rerun: bool, seeds: tuple[int, ...] | None
) -> None:
    """Check submissions; exit 1 if one is refused.

    PATHS are submission folders, or folders that hold some. Scores, costs, rounds, seeds and settings are derived and
    compared, and what a submission cannot prove is said, a sentence each. Nothing that a folder names is opened or run.

    \b
    Example:
      drake validate submissions/mine
      drake validate submissions/mine --rerun --seeds 1
    """
    from .validation import report

    refused = False
    for line in report(paths, data, against, (seeds or ()) if rerun else None):
        refused = refused or line.startswith("refused: ")
        click.echo(line)
    if refused:
        raise click.exceptions.Exit(1)
