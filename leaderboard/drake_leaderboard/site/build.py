"""Which files the site has, and writing them: all or nothing.

    index.html              the tracks: tables, charts
    entries/NAME.html       a submission
    pictures/HASH.png       pictures of the answers shown
    style.css, script.js    ours; nothing comes from another host

Every text from outside is escaped by jinja2; nothing of a submission is copied as a file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from drake.common.files import check_folder, writing
from drake.errors import DrakeError
from drake.results import load

from ..ranking import Board
from . import entry, samples, tracks
from .curves import curves
from .tracks import Page

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'"
)
"""The content security policy of every page: no code and no style within a page, nothing from elsewhere."""
PACKAGE = "drake_leaderboard.site"
ASSETS = ("style.css", "script.js")
INDEX = "index.html"
MARK = '<meta name="generator" content="drake leaderboard">'
"""In the head of every page: a folder whose index has it may be replaced."""


def write_site(board: Board, out: Path | str, data: Path | str | None = None) -> int:
    """Write the site of a board into the folder `out`, and return the number of its pages.

    data: the dataset of the runs, for questions and pictures; default: the embedded mini suite, where a run was made on
    it. Raises DrakeError where `out` holds anything but an earlier site, which is replaced, and where it cannot be
    written.
    """
    out = Path(out)
    check_target(out)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.")
    with writing(out), scratch as made:
        site = Path(made) / "site"
        site.mkdir()
        pages = _entries(board, site, data)
        (site / INDEX).write_text(index(board, pages), encoding="utf-8")
        for name in ASSETS:
            (site / name).write_bytes((files(PACKAGE) / name).read_bytes())
        if out.is_dir():
            out.rename(Path(made) / "before")
        site.rename(out)
    return 1 + len({page.href for page in pages.values()})


def check_target(out: Path) -> None:
    """Raise DrakeError unless `out` is free, empty or an earlier site."""
    check_folder(out.parent)
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise DrakeError(f"{out} is no folder; choose another --site.")
    if not out.exists() or not any(out.iterdir()):
        return
    first = out / INDEX
    if not first.is_file() or MARK not in first.read_text(encoding="utf-8", errors="replace")[:2000]:
        raise DrakeError(f"{out} holds something else than a site of the leaderboard; choose another --site.")


def index(board: Board, pages: Mapping[int, Page]) -> str:
    """The first page. pages: id() of a row -> its page."""
    return _template("index.html.jinja").render(tabs=tracks.tabs(board, pages), root="", policy=POLICY, mark=MARK)


def _entries(board: Board, site: Path, data: Path | str | None) -> dict[int, Page]:
    """Write the page of every row that has results; id() of the row -> its page."""
    rows = [(track, place, row) for track, rows in board.tables.items() for place, row in enumerate(rows, start=1)]
    rows = [(track, place, row) for track, place, row in rows if row.folder is not None]
    names = tracks.unique(tracks.slug(row.origin) for _, _, row in rows)
    questions = samples.Questions(data, site / "pictures")
    template = _template("entry.html.jinja")
    pages: dict[int, Page] = {}
    for (track, place, row), name in zip(rows, names, strict=True):
        assert row.folder is not None
        (site / "entries").mkdir(exist_ok=True)
        results = load(row.folder)
        text = template.render(
            row=row,
            place=place,
            track=track,
            method=row.display_name,
            link=tracks.https(row.link),
            results=results,
            view=entry.view(results),
            answers=samples.answers(row.folder, results, questions),
            root="../",
            policy=POLICY,
            mark=MARK,
        )
        (site / "entries" / f"{name}.html").write_text(text, encoding="utf-8")
        pages[id(row)] = Page(f"entries/{name}.html", curves(results))
    return pages


def _template(name: str) -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader(PACKAGE, "templates")
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template(name)
