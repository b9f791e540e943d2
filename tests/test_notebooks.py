"""The notebooks: what every one of them keeps to, and that all of them run, by the command that readers use."""

import ast
import itertools
import json
import os
import re
import statistics
import subprocess
import sys

import nbformat
import pytest
from bs4 import BeautifulSoup

from lib import experiments, runs

FOLDER = runs.ROOT / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
STORY = [path for path in PATHS if path.stem in experiments.PAGES]  # the others are to play with
NO_FIGURE = {"probe", "steepness"}  # of lib.plots


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, 4)


@pytest.fixture(params=STORY, ids=lambda path: path.stem)
def chapter(request):
    return nbformat.read(request.param, 4)


def cells(notebook, kind="code"):
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def tagged(cell, tag="parameters"):
    return tag in cell.metadata.get("tags", ())


def is_figure(cell):
    """Whether a cell ends in a call of plots, pictures or diagrams that makes a figure, or in display() of one."""
    call = getattr(ast.parse(cell.source).body[-1], "value", None) if cell.cell_type == "code" else None
    match call:
        case ast.Call(func=ast.Name(id="display"), args=[ast.Call() as shown]):
            call = shown
    match call:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="plots" | "pictures" | "diagrams"), attr=name)):
            return name not in NO_FIGURE
    return False


def is_prose(cell):
    """Whether a cell says something: text, or text with numbers from records."""
    if cell.cell_type == "markdown":
        return True
    calls = (ast.unparse(node.func) for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call))
    return bool({"prose.say", "claims.show"} & set(calls))


# --- all notebooks ---


def test_numbers_are_contiguous_and_every_page_has_its_notebook():
    assert [path.name[:3] for path in PATHS] == [f"{i:02}_" for i in range(1, len(PATHS) + 1)]
    assert [path.stem for path in STORY] == list(experiments.PAGES)


def test_is_a_valid_notebook_without_outputs(notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in cells(notebook):
        assert cell.outputs == []
        assert cell.execution_count is None


def test_opens_with_its_question(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert re.match(r"# [^\n]+\n\n\w", first.source), "a heading, and a promise under it"
    titles = [line for cell in cells(notebook, "markdown") for line in cell.source.split("\n") if line.startswith("# ")]
    assert len(titles) == 1


def test_has_one_cell_of_parameters(notebook):
    (parameters,) = filter(tagged, notebook.cells)
    found = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(parameters.source).body}
    assert found == {"profile": "quick", "seed": 0, "seeds": 1}


def test_imports_in_one_cell_after_the_parameters(notebook):
    importing = [
        i
        for i, cell in enumerate(notebook.cells)
        if cell.cell_type == "code"
        and any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(ast.parse(cell.source)))
    ]
    assert len(importing) == 1
    assert any(tagged(cell) for cell in notebook.cells[: importing[0]])


def test_cells_are_small(notebook):
    lengths = [len(cell.source.split("\n")) for cell in cells(notebook)]
    assert max(lengths) <= 25
    assert statistics.median(lengths) <= 6


def test_holds_no_library(notebook):
    for cell in cells(notebook):
        assert not re.search(r"^\s*[!%]", cell.source, re.MULTILINE), "plain Python: no shell, no magic"
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.ClassDef)
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 6, f"{node.name} belongs into lib"


def test_links_lead_somewhere(notebook):
    for cell in cells(notebook, "markdown"):
        for target in re.findall(r"\]\(([^)#\s]+)", cell.source):
            assert re.match("https?:", target) or (FOLDER / target).exists(), target


# --- those that tell the story ---


def test_every_figure_is_talked_about(chapter):
    for i, cell in enumerate(chapter.cells):
        if is_figure(cell):
            rest = itertools.takewhile(
                lambda c: not is_figure(c) and not c.source.startswith("#"), chapter.cells[i + 1 :]
            )
            assert any(map(is_prose, rest)), cell.source


def test_ends_with_what_we_learnt_and_a_link_onwards(chapter, request):
    headings = re.findall(r"^## (.+)$", "\n".join(cell.source for cell in cells(chapter, "markdown")), re.MULTILINE)
    assert headings[-1] == "What we learnt"
    here = request.node.callspec.params["chapter"]
    following = PATHS[PATHS.index(here) + 1 :][:1]
    for path in following:
        assert f"]({path.name})" in chapter.cells[-1].source


# --- running them ---


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """report(*arguments) runs Python on a build folder of its own: (exit code, stdout, stderr, that folder)."""
    build = tmp_path_factory.mktemp("build")

    def run(*command):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=runs.ROOT,
            env=os.environ | {"RECNET_BUILD": str(build)},
            capture_output=True,
            text=True,
            timeout=900,
        )
        return done.returncode, done.stdout, done.stderr, build

    return run


def test_all_notebooks_run_by_the_command_that_readers_use(report):
    code, out, err, build = report("-m", "lib.report", "--profile", "smoke")
    assert code == 0, err
    assert "profile smoke takes no others" in out.splitlines()[-1]
    pages = list((build / "report").glob("*.html"))
    assert {path.stem for path in pages} == {
        *experiments.PAGES,
        "change_one_thing",
        "glossary",
        "references",
        "index",
    }
    for page in pages:
        soup = BeautifulSoup(page.read_text(), "html.parser")
        assert soup.select(".banner"), "stand-in data are never passed off as real"
        assert not soup.select("script, [src^=http]")
        for link in soup.select("a[href$='.html']:not([href^=http])"):
            assert (page.parent / link["href"]).exists()
        made = ["Parameters", "Data", "Software", "Commit", "Runs and checks", "Their machine", "Executed"]
        told = [what.get_text() for what in soup.select("footer dt")]
        assert told == (made if page.stem in experiments.PAGES else made[:-1] if page.stem == "index" else [])
    for page in experiments.PAGES:
        executed = nbformat.read(build / "notebooks" / f"{page}.ipynb", 4)
        assert all(cell.execution_count for cell in cells(executed) if cell.source.strip())
        assert not [output for cell in cells(executed) for output in cell.outputs if output.output_type == "error"]
    records = [json.loads(path.read_text()) for path in (build / "runs").glob("*/record.json")]
    assert 0 < sum(record["kind"] == "train" for record in records) <= 30
    assert all(record["data"]["standin"] for record in records)


@pytest.mark.parametrize("path", STORY, ids=lambda path: path.stem)
def test_a_page_asks_for_the_runs_that_it_is_known_to_need(path):
    """By these it is forecast, and made anew when they change."""
    code = "\n".join(cell.source for cell in cells(nbformat.read(path, 4)))
    asked = set(re.findall(r"(?:grid\.get|claims\.show)\(\"(\w+)\"", code))
    if "grid.compared(" in code:
        asked |= {"C11", "early"}
    assert asked <= {*experiments.PAGES[path.stem], *experiments.ALSO.get(path.stem, ())}


@pytest.mark.parametrize("place", range(len(STORY)), ids=[path.stem for path in STORY])
def test_what_a_page_judges_was_trained_by_then(place):
    """Else its first making would say less than its second."""

    def named(function, path):
        code = "\n".join(cell.source for cell in cells(nbformat.read(path, 4)))
        found = [name for name in re.findall(rf"{function}\(\"(\w+)\"", code) if name in experiments.DESIGNS]
        return {repr(run) for run in experiments.wanted(found, "quick")}

    trained = set().union(*(named(r"grid\.get", path) for path in STORY[: place + 1]))
    assert named(r"claims\.show", STORY[place]) <= trained


@pytest.mark.parametrize("path", [path for path in PATHS if path not in STORY], ids=lambda path: path.stem)
def test_the_others_run_too(report, path):
    program = "from lib.report import *; sys.exit(main(['--profile', 'smoke'], pages={sys.argv[1]: ()}))"
    code, _, err, _ = report("-c", program, path.stem)
    assert code == 0, err
