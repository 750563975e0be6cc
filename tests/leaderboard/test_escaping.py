"""Texts of submissions are plain in every format of a board."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from drake_leaderboard import escaping, formats, ranking
from rich.console import Console

from drake.cli.tables import summary_table
from drake.results import load

Fabricate = Callable[..., Path]

HOSTILE = "[x](javascript:alert(1)) <img src=x onerror=y> `a` https://a.example www.a.example @someone $x$ [bold]"


def test_markdown_makes_links_html_and_code_text() -> None:
    plain = escaping.markdown(HOSTILE)
    assert plain == (
        r"\[x\](javascript:alert(1)) &lt;img src=x onerror=y&gt; \`a\` https\://a.example www\.a.example "
        r"&#64;someone \$x\$ \[bold\]"
    )
    assert escaping.markdown("a\n# Heading\u202e") == r"a\\n# Heading\\u202e"


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@SUM", " =1", "＝1"])
def test_csv_has_no_formulas(text: str) -> None:
    assert str(escaping.csv(text)).startswith("'")


def test_csv_keeps_numbers_and_names() -> None:
    assert (escaping.csv(-1.5), escaping.csv("FedAvg-2"), escaping.csv(None)) == (-1.5, "FedAvg-2", None)


def test_latex_escapes_its_commands() -> None:
    assert escaping.latex(r"50% of a_b & \input{x} ± 1") == (r"50\% of a\_b \& \textbackslash{}input\{x\} $\pm$ 1")


def test_a_method_of_markup_is_text_everywhere(fabricate: Fabricate) -> None:
    for number, name in enumerate(("[bold]", "=1+1|", "</td><script>", "[/]", "[link=https://a.example]x[/link]")):
        run = fabricate(f"run-{number}", method=name)
        board = ranking.collect([run], published=False)
        assert "<script" not in formats.as_html(board)
        assert "<script" not in formats.as_markdown(board)
        (row,) = csv.DictReader(io.StringIO(formats.as_csv(board)))
        assert row["method"] == (f"'{name}" if name[0] == "=" else name)
        out = io.StringIO()
        Console(file=out, width=120).print(summary_table(load(run)))
        assert f"{name}, preset mini" in out.getvalue()
