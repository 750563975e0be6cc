"""Ranking: run folders, submission folders and published results become one table per track, in four formats.

A track holds what may be compared: the same benchmark (for runs: the same data, bit for bit), schedule, backbones and
preset. Published results stand in tracks of their own, marked as published: nobody here has their answers.
Within a track rows are ordered by official Self A_last, then by Others A_last, A_AUC and the name.

Scores are percent with two decimals in tables and pages, fractions in CSV.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from drake.data.fingerprints import current_fingerprint
from drake.errors import DrakeError
from drake.federation.participation import EVERYONE
from drake.results import FILE, Estimate, Results, load

if TYPE_CHECKING:
    from rich.console import RenderableType

UNKNOWN = Estimate(mean=None, stderr=None, n=0)
SCORES = {
    "self_last": "Self A_last",
    "self_auc": "Self A_AUC",
    "others_last": "Others A_last",
    "others_auc": "Others A_AUC",
}
"""Field of SeedSummary -> heading, in the order of the columns."""


class Track(NamedTuple):
    """What a table holds: results that may be compared.

    benchmark: where the samples come from. fingerprint: of the data, "" for published results.
    split: the schedule. models: the backbones and their assignment. preset: of the numbers; "" where published.
    numbers: digest of the preset's numbers as they were used, so that a changed preset is a track of its own.
    heading: what the source calls a published table; "" for runs.
    """

    published: bool
    benchmark: str
    split: str
    models: str
    preset: str
    fingerprint: str
    numbers: str = ""
    heading: str = ""

    @property
    def title(self) -> str:
        """One line that tells this track from every other; data are named by eight digits of their fingerprint."""
        if self.published:
            return f"{self.heading} · as published"
        preset = f"preset {self.preset} ({self.numbers})"
        return " · ".join((self.benchmark, self.split, self.models, preset, f"data {self.fingerprint[:8]}"))


@dataclass(frozen=True)
class Row:
    """One line of a table.

    scores: field of SeedSummary -> official score, a fraction. upload: bytes a client sends per round.
    minutes: wall-clock of one seed, training and evaluation. flops: operations of one seed's training, None where they
    are not known of every seed. origin: folder name, or the citation when published.
    """

    track: Track
    method: str
    reference: str
    scores: Mapping[str, Estimate]
    strict_self_last: Estimate
    seeds: int
    upload: float | None
    minutes: float | None
    flops: float | None
    origin: str


class Board(NamedTuple):
    """tables: track -> its rows, best first. left_out: why results that were found are not ranked, one line each."""

    tables: dict[Track, list[Row]]
    left_out: list[str]


def collect(paths: Iterable[Path | str], published: bool = True) -> Board:
    """The tables of all results at or under the paths, and of the published ones.

    A path is a run or submission folder, or a folder of such folders at any depth. Runs that are not complete are left
    out, with a note. Raises DrakeError for a path that does not exist or holds no results, and for a broken file.
    """
    rows: list[Row] = []
    left_out: list[str] = []
    for folder in _folders(paths):
        results = load(folder)
        if results.status == "complete" and results.summary:
            rows.append(row(results, folder.name))
        else:
            left_out.append(f"{folder} is {results.status} and not ranked; finish it with the same `drake eval`.")
    if published:
        rows += published_rows()
    return Board(ranked(rows), left_out)


def ranked(rows: Iterable[Row]) -> dict[Track, list[Row]]:
    """Rows by track, best first; tracks of runs before published ones, then by name."""
    tables: dict[Track, list[Row]] = {}
    for entry in sorted(rows, key=_order):
        tables.setdefault(entry.track, []).append(entry)
    return tables


def _order(entry: Row) -> tuple[Any, ...]:
    # A score that is not known sorts behind every score that is.
    keys = ("self_last", "others_last", "self_auc", "others_auc")
    means = [entry.scores[key].mean for key in keys]
    return (entry.track, *(float("inf") if mean is None else -mean for mean in means), entry.method, entry.origin)


def row(results: Results, origin: str) -> Row:
    """The line of a complete run."""
    models = " + ".join(results.models.names)
    if results.models.assignment not in (models, *results.models.names):
        models += f" ({results.models.assignment})"
    runs, clients = results.runs, len(results.clients)
    rounds = sum(len(run.train_loss) for run in runs)
    sent = sum(message.bytes for run in runs for message in run.traffic if message.direction == "up")
    return Row(
        track=Track(
            published=False,
            benchmark=results.data.name,
            split=results.data.split,
            models=models,
            preset=results.preset,
            fingerprint=current_fingerprint(results.data.fingerprint),
            numbers=_digest(results.config),
        ),
        method=results.method.name,
        reference=results.method.reference,
        scores={name: results.summary["official"].get(name, UNKNOWN) for name in SCORES},
        strict_self_last=results.summary["strict"].get("self_last", UNKNOWN),
        seeds=len(runs),
        upload=sent / (clients * rounds) if clients * rounds else None,
        minutes=sum(run.seconds_train + run.seconds_eval for run in runs) / 60 / len(runs) if runs else None,
        flops=None if any(run.flops is None for run in runs) else sum(run.flops for run in runs) / len(runs),
        origin=origin,
    )


def published_rows() -> list[Row]:
    """The rows of published.toml beside this module, percent turned into fractions.

    Only what the source gives as a table of Self and Others; A_AUC, bytes and minutes were not published.
    """
    data = tomllib.loads((files(__package__) / "published.toml").read_text(encoding="utf-8"))
    rows = []
    for table in data["table"]:
        track = Track(
            published=True,
            benchmark=table["benchmark"],
            split=table.get("split", ""),
            models=" + ".join(table.get("models", [])),
            preset="",
            fingerprint="",
            heading=table["title"],
        )
        for line in table["row"]:
            scores = dict.fromkeys(SCORES, UNKNOWN) | {
                f"{side}_last": _published(line.get(side), line.get(f"{side}_standard_error"))
                for side in ("self", "others")
            }
            rows.append(Row(track, line["method"], data["source"], scores, UNKNOWN, 0, None, None, None, "published"))
    return rows


def _published(percent: float | None, error: float | None) -> Estimate:
    return Estimate(
        mean=None if percent is None else percent / 100,
        stderr=None if error is None else error / 100,
        n=0,  # the number of seeds is not in the tables
    )


def default_paths() -> list[Path]:
    """The bundled submissions and ./runs, as far as they hold results."""
    bundled = Path(str(files(__package__))) / "submissions"
    return [path for path in (bundled, Path("runs")) if path.is_dir() and any(path.rglob(FILE))]


def _digest(config: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits over what makes scores comparable and no other part of a track says."""
    decisive = {key: config.get(key) for key in ("numbers", "eval_records", "alpha", "evaluation_rounds")}
    attendance = config.get("attendance", asdict(EVERYONE))
    if attendance != asdict(EVERYONE):  # runs from before clients could be out belong to those where all are there
        decisive["attendance"] = attendance
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:8]


def _folders(paths: Iterable[Path | str]) -> list[Path]:
    found: dict[Path, Path] = {}  # resolved -> as named, so that a folder named twice counts once
    for path in map(Path, paths):
        if not path.is_dir():
            raise DrakeError(f"{path} is no folder; name the folder of a run, or one that holds runs.")
        here = sorted(file.parent for file in path.rglob(FILE))
        if not here:
            raise DrakeError(f"{path} holds no {FILE}; name the folder of a run, or one that holds runs.")
        for folder in here:
            found.setdefault(folder.resolve(), folder)
    return list(found.values())


# ---------------------------------------------------------------------------------------------------------------------
# Formats


class Column(NamedTuple):
    """heading; cell: what people read; raw: CSV names -> numbers and names as files hold them."""

    heading: str
    cell: Callable[[int, Row], str]
    raw: Callable[[int, Row], dict[str, object]]


def percent(estimate: Estimate) -> str:
    """ "67.86 ± 0.51" of a fraction; the error only where it is known, "" for an unknown score."""
    if estimate.mean is None:
        return ""
    error = f" ± {100 * estimate.stderr:.2f}" if estimate.stderr is not None else ""
    return f"{100 * estimate.mean:.2f}{error}"


def readable_bytes(count: float | None) -> str:
    """ "1.5 MB" with decimal units, "" for unknown."""
    if count is None:
        return ""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _score_column(heading: str, key: str, pick: Callable[[Row], Estimate]) -> Column:
    return Column(
        heading,
        lambda _, entry: percent(pick(entry)),
        lambda _, entry: {key: pick(entry).mean, f"{key}_stderr": pick(entry).stderr},
    )


def _plain(heading: str, key: str, value: Callable[[int, Row], Any], cell: Callable[[Any], str] = str) -> Column:
    return Column(
        heading,
        lambda place, entry: cell(value(place, entry)),
        lambda place, entry: {key: value(place, entry)},
    )


COLUMNS = (
    _plain("#", "rank", lambda place, _: place),
    _plain("Method", "method", lambda _, entry: entry.method),
    *(_score_column(heading, name, lambda entry, name=name: entry.scores[name]) for name, heading in SCORES.items()),
    _score_column("Strict Self A_last", "strict_self_last", lambda entry: entry.strict_self_last),
    _plain("Seeds", "seeds", lambda _, entry: entry.seeds or "", str),
    _plain("Sent/client/round", "bytes_up_per_client_and_round", lambda _, entry: entry.upload, readable_bytes),
    _plain("Minutes", "minutes_per_seed", lambda _, entry: entry.minutes, lambda m: "" if m is None else f"{m:.1f}"),
    _plain("TFLOP", "flops_per_seed", lambda _, entry: entry.flops, lambda n: "" if n is None else f"{n / 1e12:.3g}"),
    _plain("Origin", "origin", lambda _, entry: entry.origin),
)


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    return [[column.cell(place, entry) for column in COLUMNS] for place, entry in enumerate(rows, start=1)]


def as_rich(board: Board, width: int) -> RenderableType:
    """Tables for a terminal of `width` characters.

    Columns that are empty throughout a track are left out; of the others, where they do not fit, the ones a reader can
    best do without, and a caption names them.
    """
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = []
    for track, rows in board.tables.items():
        cells = _cells(rows)
        kept = [index for index in range(len(COLUMNS)) if any(line[index] for line in cells)]
        dropped = _dropped(cells, kept, width)
        table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
        if dropped:
            table.caption = f"no room for {', '.join(dropped)}; see --format csv"
        shown = [index for index in kept if COLUMNS[index].heading not in dropped]
        for index in shown:
            heading = COLUMNS[index].heading
            table.add_column(_stacked(heading), justify="left" if heading in NAMES else "right", overflow="fold")
        for line in cells:
            table.add_row(*(Text(line[index]) for index in shown))
        parts += [Text(track.title, style="bold"), table]
    return Group(*parts)


NAMES = ("Method", "Origin")
EXPENDABLE = (
    "Origin",
    "TFLOP",
    "Strict Self A_last",
    "Seeds",
    "Minutes",
    "Others A_AUC",
    "Self A_AUC",
    "Sent/client/round",
)
"""Headings in the order in which a narrow terminal drops them."""


def _stacked(heading: str) -> str:
    return heading.replace(" ", "\n").replace("/", "/\n")


def _dropped(cells: Sequence[Sequence[str]], kept: Sequence[int], width: int) -> list[str]:
    wide = {
        COLUMNS[index].heading: 2
        + max(map(len, [*(line[index] for line in cells), *_stacked(COLUMNS[index].heading).split("\n")]))
        for index in kept
    }
    dropped: list[str] = []
    for heading in EXPENDABLE:
        if 2 + sum(wide.values()) <= width:
            break
        if wide.pop(heading, None) is not None:
            dropped.append(heading)
    return dropped


def as_text(board: Board) -> str:
    """The terminal's tables as plain text, for a file."""
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=160).print(as_rich(board, 160))
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())


def as_markdown(board: Board) -> str:
    """One section with a table per track."""
    lines = []
    for track, rows in board.tables.items():
        lines += [f"## {_escaped(track.title)}", "", _markdown_line([column.heading for column in COLUMNS])]
        lines.append("|" + "|".join(":--" if c.heading in NAMES else "--:" for c in COLUMNS) + "|")
        lines += [_markdown_line(line) for line in _cells(rows)]
        lines.append("")
    return "\n".join(lines)


def _markdown_line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(map(_escaped, cells)) + " |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("_", "\\_")


def as_csv(board: Board) -> str:
    """All tracks in one file: the track's parts, then the columns; fractions, bytes, minutes and operations, "" for
    unknown."""
    records = []
    for track, rows in board.tables.items():
        for place, entry in enumerate(rows, start=1):
            values = [column.raw(place, entry) for column in COLUMNS]
            records.append(track._asdict() | {key: value for part in values for key, value in part.items()})
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(records[0]) if records else [*Track._fields], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def as_html(board: Board) -> str:
    """A page that needs nothing else: no script, no outside file."""
    from jinja2 import Environment, StrictUndefined

    template = (files(__package__) / "page.html.jinja").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    tables = [
        {"track": track, "rows": list(zip(rows, _cells(rows), strict=True))} for track, rows in board.tables.items()
    ]
    return page.from_string(template).render(tables=tables, headings=[column.heading for column in COLUMNS])
