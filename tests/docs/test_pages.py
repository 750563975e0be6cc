"""The pages tell the truth: links lead somewhere, commands and names exist, the README's tables are those of the stored
submissions."""

from __future__ import annotations

import ast
import inspect
import json
import re
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path

import click
import pytest

import drake
from drake.cli import drake as drake_command

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    + list((ROOT / "docs").glob("*.md"))
    + list((ROOT / ".github").rglob("*.md"))
    + [ROOT / "data_cards/README.md"]
)
SUBMISSIONS = ROOT / "leaderboard/drake_leaderboard/submissions"
FOREIGN = ("drake.toml",)
"""Names that begin like a module and are files."""

each_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code(page: Path) -> list[str]:
    """Everything a page sets as code: fenced blocks, indented blocks and `spans`."""
    content = text(page)
    fenced = re.findall(r"^```.*?\n(.*?)^```", content, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", content, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    (\S.*)$", rest, re.MULTILINE)
    return [*fenced, *indented, *re.findall(r"`([^`\n]+)`", rest)]


@each_page
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        name, _, anchor = target.partition("#")
        if name.startswith(("http://", "https://", "mailto:")):
            continue
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


@cache
def command(*names: str) -> click.Command | None:
    """The command `drake NAMES...`; None where there is none."""
    found: click.Command | None = drake_command
    for name in names:
        found = found.get_command(click.Context(found), name) if isinstance(found, click.Group) else None
    return found


def command_lines(page: Path) -> list[list[str]]:
    """The words after `drake` of every command line on a page; a line that ends in a backslash goes on."""
    lines = [line for block in code(page) for line in block.replace("\\\n", " ").splitlines()]
    found = [re.fullmatch(r"(?:\$ )?drake ([a-z][^#]*)(?:#.*)?", line.strip()) for line in lines]
    return [match[1].split() for match in found if match]


@each_page
def test_every_command_line_names_a_command_and_options_that_exist(page):
    wrong = []
    for words in command_lines(page):
        found, rest = command(words[0]), words[1:]
        if isinstance(found, click.Group) and rest:
            found, rest = command(words[0], rest[0]), rest[1:]
        if found is None:
            wrong.append(" ".join(words))
            continue
        known = {name for option in found.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
        hidden = {name for option in found.params if getattr(option, "hidden", False) for name in option.opts}
        given = [word.partition("=")[0] for word in rest if word.startswith("--")]
        wrong += [f"drake {words[0]} {name}" for name in given if name not in known - hidden]
    assert wrong == []


def test_pages_hold_command_lines_that_the_test_above_reads():
    assert ["build", "--split", "dynamic", "--out", "data/mini"] in command_lines(ROOT / "README.md")
    assert command("backbones", "train") is not None
    assert command("evaluate") is None


def exists(dotted: str) -> bool:
    """Whether a dotted name is a module, or a name in one, or in a class of one."""
    first, *rest = dotted.split(".")
    found, path = import_module(first), first
    for name in rest:
        path = f"{path}.{name}"
        if hasattr(found, name):
            found = getattr(found, name)
        elif name in getattr(found, "__annotations__", {}):
            found = None
        else:
            try:
                found = import_module(path)
            except ModuleNotFoundError:
                return False
    return True


@each_page
@pytest.mark.filterwarnings("error:.* is called .* now:DeprecationWarning")
def test_every_dotted_name_of_a_package_exists(page):
    spans = re.findall(r"`(drake(?:_methods|_baselines|_leaderboard)?(?:\.\w+)+)(?:\(.*?\))?`", text(page))
    groups = {"drake.methods", "drake.sources", "drake.commands"}  # of entry points
    assert [name for name in spans if name not in groups and name not in FOREIGN and not exists(name)] == []


@each_page
def test_every_file_of_the_repository_that_is_named_exists(page):
    folders = "drake|methods|baselines|leaderboard|docs|experiments|benchmarks|tests|data_cards"
    named = [
        name for block in code(page) for name in re.findall(rf"(?<![\w/.])(?<!--out )((?:{folders})/[\w./-]*\w)", block)
    ]
    missing = [name for name in named if not (ROOT / name).exists() and "NAME" not in name]
    assert missing == []


def test_a_name_that_does_not_exist_is_found():
    assert exists("drake.federation.method.Method.aggregate")
    assert not exists("drake.federation.method.Method.no_such_hook")
    assert not exists("drake.no_such_module")


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL)


@each_page
def test_the_python_of_a_page_compiles_and_imports_what_exists(page):
    for block in python_blocks(page):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("drake"):
                assert all(exists(f"{node.module}.{alias.name}") for alias in node.names), ast.unparse(node)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "drake":
                assert exists(f"drake.{node.attr}"), node.attr


def test_the_readme_calls_functions_with_arguments_that_they_have():
    (block,) = python_blocks(ROOT / "README.md")
    calls = [
        node
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "drake"
    ]
    assert {call.func.attr for call in calls} >= {"load", "evaluate", "load_results"}
    for call in calls:
        keywords = {str(keyword.arg): None for keyword in call.keywords}
        inspect.signature(getattr(drake, call.func.attr)).bind(*call.args, **keywords)


def test_the_readme_is_short_and_begins_with_what_it_is():
    lines = text(ROOT / "README.md").splitlines()
    assert len(lines) <= 100
    assert lines[2].startswith("DRAKE is a benchmark")
    assert lines[4].startswith("![")


SCORES = ("self_last", "self_auc", "others_last", "others_auc")


def stored_row(submission: str) -> list[str]:
    """The four scores of a submission, in percent with their standard errors, and the kB sent per client and round."""
    results = json.loads((SUBMISSIONS / submission / "results.json").read_text())
    run = results["runs"][0]
    sent = sum(row["bytes"] for row in run["traffic"] if row["direction"] == "up")
    estimates = [results["summary"]["official"][name] for name in SCORES]
    cells = [f"{100 * found['mean']:.2f} ± {100 * found['stderr']:.2f}" for found in estimates]
    return [*cells, f"{sent / 1000 / len(results['clients']) / len(run['train_loss']):.0f}"]


def rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    section = text(page).partition(f"\n{heading}\n")[2]
    lines = [line for line in section.split("\n## ")[0].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("| method")]


@pytest.mark.parametrize(
    ("page", "heading", "suffix", "count"),
    [
        ("README.md", "## Results on the mini suite", "", 11),
        ("docs/results-mini.md", "## Two sizes of one family", "", 11),
    ],
)
def test_tables_of_results_are_those_of_the_stored_submissions(page, heading, suffix, count):
    found = rows(ROOT / page, heading)
    assert len(found) == count
    for name, *cells in found:
        assert cells[:5] == stored_row(f"mini-{name.lower()}{suffix}"), name


def test_the_readme_sets_the_papers_scores_beside_its_own():
    tables = tomllib.loads((SUBMISSIONS.parent / "published.toml").read_text())["table"]
    (table,) = (table for table in tables if table["id"] == "table-2")
    paper = {row["method"]: [f"{row['self']:.1f}", f"{row['others']:.1f}"] for row in table["row"]}
    found = {name: cells[5:] for name, *cells in rows(ROOT / "README.md", "## Results on the mini suite")}
    assert found.pop("joint") == ["", ""]
    assert found == {name: paper[name] for name in found}
