"""Text of submissions in the formats of a board. Each function makes any text plain in its format: nothing in it is a
link, a heading, a formula, markup or a control character there. HTML is escaped by jinja2, the terminal by rich's Text.
"""

from __future__ import annotations

import re

from drake.common.outside import shown

_MARKDOWN = re.compile(r"([\\`*_\[\]|~$])")
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "·": r"$\cdot$",
}
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "|", "＝", "＋", "－", "＠")
"""What spreadsheets take for the start of a formula."""


def markdown(text: str) -> str:
    """For GitHub's Markdown: HTML, emphasis, links, tables and code are text; addresses and mentions are no links."""
    plain = _MARKDOWN.sub(r"\\\1", shown(text, 1000)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return plain.replace("://", r"\://").replace("www.", r"www\.").replace("@", "&#64;")


def csv(value: object) -> object:
    """For a cell of a CSV file that a spreadsheet opens; numbers stay what they are."""
    if not isinstance(value, str):
        return value
    plain = shown(value, 1000)
    return f"'{plain}" if plain.lstrip().startswith(_FORMULAS) else plain


def latex(text: str) -> str:
    """For text mode of LaTeX."""
    return "".join(_LATEX.get(letter, letter) for letter in shown(text, 1000))
