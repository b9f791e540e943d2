"""What `lib/__init__.py` promises of its modules: a place for each, and imports from earlier ones alone."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lib

FOLDER = Path(lib.__file__).parent
ORDER = re.findall(r"^(\w+)  +\S", lib.__doc__, re.MULTILINE)


def imported(path):
    """The modules of lib that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ImportFrom(module="lib", names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module)) if module.startswith("lib."):
                yield module.split(".")[1]


def test_every_module_has_its_place():
    assert sorted(ORDER) == sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", ORDER)
def test_a_module_imports_from_earlier_ones_alone(name):
    later = set(ORDER[ORDER.index(name) :])
    assert not later & set(imported(FOLDER / f"{name}.py"))


LIGHT = """import sys, lib.data, lib.train
assert not {"keras", "tensorflow", "pandas", "scipy", "matplotlib", "PIL", "pooch"} & set(sys.modules)
import lib.claims, lib.evaluate, lib.readme, lib.recorder, lib.report, lib.runs
assert not {"keras", "tensorflow", "jax"} & set(sys.modules)"""


def test_reading_takes_no_keras_and_training_little_else():
    subprocess.run([sys.executable, "-c", LIGHT], check=True, cwd=FOLDER.parent)
