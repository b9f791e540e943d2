"""The README says what the repository holds."""

import re
import subprocess

from lib import experiments, readme, runs

TEXT = readme.README.read_text(encoding="utf-8")


def test_the_table_is_that_of_the_recorded_runs():
    assert readme.updated(TEXT, runs.read(runs.RESULTS), runs.read(runs.QUICK)) == TEXT, "run `python -m lib.readme`"


def test_the_numbers_of_runs_are_those_of_the_design():
    pages = [claim for page in experiments.PAGES.values() for claim in page]
    assert f"it trains {len(experiments.wanted(pages, 'quick'))} small networks" in TEXT
    assert f"The full grid is {len(experiments.wanted(experiments.DESIGNS, 'paper'))} runs" in TEXT


def test_every_command_exists():
    targets = set(re.findall(r"^([a-z]+):", (runs.ROOT / "Makefile").read_text(), re.MULTILINE))
    code = " ".join(re.findall(r"```.*?```|`[^`]*`", TEXT, re.DOTALL))
    assert set(re.findall(r"make ([a-z]+)\b(?!-)", code)) <= targets


def test_every_linked_file_exists():
    listed = subprocess.run(["git", "ls-files"], cwd=runs.ROOT, capture_output=True, text=True, check=True)
    tracked = listed.stdout.split()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT):
        assert any(name == target or name.startswith(f"{target}/") for name in tracked), target
