"""What must be installed, and how make sets it up.

Make is run for real, in a copy of the files it reads, with stand-ins for every Python: each writes down how it was
called and does as it is told. Nothing is installed and nothing is downloaded.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from lib import environment

ROOT = Path(__file__).resolve().parent.parent
YAML = (ROOT / "environment.yml").read_text(encoding="utf-8")
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
TARGETS = [
    "help",
    "env",
    "data",
    "report",
    "test",
    "test-faults",
    "lab",
    "record",
    "publish",
    "evaluate",
    "bench",
    "audit",
    "lock",
    "clean",
]


# ---- The lists: environment.yml, requirements.lock, pyproject.toml


def test_every_dependency_is_pinned_and_has_its_reason():
    listed = [line.strip() for line in YAML.partition("- pip:\n")[2].splitlines() if line.strip().startswith("- ")]
    assert listed[-1] == "- -e ."
    assert [line for line in listed[:-1] if not re.fullmatch(r"- [\w.-]+==[\w.]+  # \S.+", line)] == []
    assert environment.pins() == [line.split()[1] for line in listed[:-1]]


def test_lock_resolves_the_pins_with_a_hash_each_and_names_no_place():
    packages = re.split(r"\n(?=[a-z])", LOCK)[1:]
    resolved = {re.match(r"(\S+)", package).group() for package in packages}
    assert set(environment.pins()) <= resolved
    assert [package.split()[0] for package in packages if "--hash=sha256:" not in package] == []
    assert not re.search(r"://|--(extra-)?index|--find-links|file:|(^|\s)/", LOCK)


def test_extras_are_pinned_and_agree_with_the_environment():
    pins = environment.pins()
    unpinned = re.compile(r"(?![\w.-]+(\[[\w-]+])?==[\w.]+$)")
    assert [pin for extra in EXTRAS.values() for pin in extra if unpinned.match(pin)] == []
    assert [pin.replace("[and-cuda]", "") for pin in EXTRAS["gpu"]] == [pin for pin in pins if "tensorflow=" in pin]
    assert set(PROJECT["build-system"]["requires"]) <= set(pins)


def test_the_python_versions_are_the_same_everywhere():
    span = re.search(r"- python (\S+)", YAML).group(1)
    assert PROJECT["project"]["requires-python"] == span
    assert f"--python-version {span[2:6]} " in MAKEFILE


def imported():
    """The top-level modules that lib, the tests and the notebooks import."""
    sources = [path.read_text(encoding="utf-8") for part in ("lib", "tests") for path in (ROOT / part).rglob("*.py")]
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    for node in (node for source in sources for node in ast.walk(ast.parse(source))):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


def test_what_is_imported_is_pinned():
    ours = {path.stem for path in (ROOT / "tests").glob("*.py")} | {"lib", "tests"}
    optional = {"playwright"}  # pytest-playwright brings its own
    pinned = {re.split(r"[\[=]", pin)[0] for pin in environment.pins() + environment.pins(EXTRAS)}
    distributions = metadata.packages_distributions()
    for module in set(imported()) - ours - optional - sys.stdlib_module_names:
        names = {name.lower().replace("_", "-") for name in distributions.get(module, [module])}
        assert names & pinned, f"{module} is imported, and not pinned in environment.yml"


# ---- lib.environment


def test_an_old_python_can_read_the_module():
    ast.parse(Path(environment.__file__).read_text(encoding="utf-8"), feature_version=(3, 6))


@pytest.mark.parametrize(("version", "fits"), [((3, 6), 0), ((3, 10), 0), ((3, 11), 1), ((3, 13), 1), ((3, 14), 0)])
def test_python_version_is_judged_in_one_line(monkeypatch, capsys, version, fits):
    monkeypatch.setattr(sys, "version_info", version)
    assert environment.main(["--base"]) == 1 - fits
    said = capsys.readouterr().err
    assert said == "" if fits else re.fullmatch(r"Python 3\.\d+ found, 3\.11 to 3\.13 is needed: .+\n", said)


def test_a_python_without_venv_is_told_apart(monkeypatch, capsys):
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    assert environment.main(["--base"]) == 1
    assert "no venv module" in capsys.readouterr().err
    assert environment.unfit() == ""  # it can still run the report


def test_a_pin_is_met_by_its_very_version_alone(monkeypatch):
    installed = {"torch": "2.13.0+cpu", "numpy": "2.4.6", "tensorflow": "2.21.0"}
    needs = ["six>=1", 'nvidia-nccl-cu12<3.0,>=2.27.7; extra == "and-cuda"']

    def version(name):
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", lambda name: needs if name == "tensorflow" else None)
    assert environment.unmet("numpy==2.4.6") == ""
    assert environment.unmet("torch==2.13.0") == ""
    assert environment.unmet("numpy==2.4.7") == "numpy is 2.4.6, not 2.4.7"
    assert environment.unmet("numpy==2.4.5") == "numpy is 2.4.6, not 2.4.5"
    assert environment.unmet("keras==3.15.1") == "keras is missing"
    assert environment.unmet("tensorflow==2.21.0") == ""
    assert environment.unmet("tensorflow[and-cuda]==2.21.0") == "nvidia-nccl-cu12 is missing"
    installed["nvidia-nccl-cu12"] = "2.30"
    assert environment.unmet("tensorflow[and-cuda]==2.21.0") == ""


def test_check_says_in_one_line_what_is_off(monkeypatch, capsys):
    monkeypatch.setattr(environment, "unmet", lambda pin: "")
    assert environment.main(["--check"]) == 0
    monkeypatch.setattr(environment, "unmet", lambda pin: f"{pin.partition('==')[0]} is missing")
    assert environment.main(["--check", "bench"]) == 1
    assert environment.main(["--check"]) == 1
    bench, whole = capsys.readouterr().err.splitlines()
    assert bench == "torch is missing"
    assert whole == f"tensorflow is missing, keras is missing and {len(environment.pins()) - 2} more"


def test_pins_are_printed_one_a_line(capsys):
    assert environment.main([]) == 0
    assert capsys.readouterr().out.splitlines() == environment.pins()
    assert environment.main(["bench", "cluster"]) == 0
    assert capsys.readouterr().out.splitlines() == EXTRAS["bench"] + EXTRAS["cluster"]


def test_an_unknown_extra_is_told_the_choices(capsys):
    with pytest.raises(SystemExit, match="2"):
        environment.main(["--check", "benhc"])
    assert f"'benhc': choose from {', '.join(EXTRAS)}" in capsys.readouterr().err


def test_importing_lib_warns_of_nothing():
    subprocess.run([sys.executable, "-W", "error", "-c", "import lib"], check=True, cwd=ROOT)


# ---- make

PYTHON = """\
#!/bin/sh
# Stands in for Python {version}. It is told $LACKS (the extras that --check misses, "pins" for an active environment
# without them, "lock" for a lock without them), $FAILS (a part of the call that is to fail), $SLOW (likewise) and
# $AUDIT (what an audit finds, or "silence").
case "$*" in *"${{SLOW:-nothing}}"*) sleep 0.2 ;; esac
echo "$0 $*" >> "$CALLS"
case "$*" in
    -V) echo "Python {version}" ;;
    "-m lib.environment --base") {fits} || {{ echo "Python {version} found, another is needed" >&2; exit 1; }} ;;
    "-m lib.environment --check") case "$LACKS $0" in
        *pins*" .venv"*) ;; *pins*|*lock*) echo "numpy is 1, not 2"; exit 1 ;; esac ;;
    "-m lib.environment --check "*) case "$LACKS" in *"$4"*) exit 1 ;; esac ;;
    "-m lib.environment "*) echo "$3==1" ;;
    "-m venv --clear .venv")
        cp "$0" "$CALLS.python" && rm -rf .venv && mkdir -p .venv/bin && mv "$CALLS.python" .venv/bin/python ;;
    "-c import pip") case "$LACKS" in *pip*) exit 1 ;; esac ;;
    "-m pip_audit "*) case "$AUDIT" in
        "") ;; silence) exit 1 ;; *) echo "$AUDIT" > build/audit.txt; exit 1 ;; esac ;;
    "-m lib.data") echo "DATA_DIR=$DATA_DIR VIRTUAL_ENV=$VIRTUAL_ENV PYTHONPATH=$PYTHONPATH" ;;
    *"$FAILS"*) test -z "$FAILS" ;;
esac
"""


class Sandbox:
    """A copy of what make reads, in a folder with a space in its name, and stand-ins for the Pythons on the PATH."""

    def __init__(self, base):
        self.folder, self.bin, self.log = base / "the report", base / "bin", base / "calls"
        self.folder.mkdir()
        for name in ("Makefile", "environment.yml", "requirements.lock", "pyproject.toml", ".ci"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
            copy(ROOT / name, self.folder / name)
        for name in ("python3", "python3.11", "python3.12", "python3.13"):
            self.python(self.bin / name, "3.11.7", fits=name == "python3")
        path = [self.bin, Path(shutil.which("make")).parent, "/usr/bin", "/bin"]
        self.environment = {"PATH": ":".join(map(str, path)), "CALLS": str(self.log)}

    def python(self, path, version, fits=True):
        """Put a stand-in there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PYTHON.format(version=version, fits="true" if fits else "false"))
        path.chmod(0o755)

    def run(self, *command, **variables):
        """Run a command in the folder; returns the finished process, with what the Pythons were called with as `calls`.

        The questions that make asks of them (-V, -c, --check, --base) are left out.
        """
        self.log.write_text("")
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment | variables, text=True, capture_output=True, check=False
        )
        calls = [line.replace(f"{self.bin}/", "") for line in self.log.read_text().splitlines()]
        done.calls = [call for call in calls if not re.search(r" (-V|-c .*|-m lib\.environment( .*)?)$", call)]
        return done

    def make(self, *arguments, **variables):
        """Run make, quietly."""
        return self.run("make", *arguments, **variables)


@pytest.fixture
def bare(tmp_path):
    """A fresh clone."""
    return Sandbox(tmp_path)


@pytest.fixture
def ready(bare):
    """A clone whose environment is set up."""
    assert bare.make("env").returncode == 0
    return bare


SET_UP = [
    "python3 -m venv --clear .venv",
    ".venv/bin/python -m pip --disable-pip-version-check install -qq --require-hashes --only-binary :all: "
    "-r requirements.lock",
    ".venv/bin/python -m pip --disable-pip-version-check install -qq --no-deps --no-build-isolation -e .",
]


def test_make_alone_lists_every_target_in_one_line(bare):
    done = bare.make()
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("make ")] == TARGETS
    assert set(TARGETS) == set(re.search(r"^\.PHONY: (help .+)$", MAKEFILE, re.MULTILINE).group(1).split())
    assert done.returncode == 0
    assert done.calls == []


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        ("data", "-m lib.data"),
        ("report", "-m lib.report"),
        ("report PROFILE=quick SEEDS=2 SEED=7 NB=04", "-m lib.report --profile quick --seeds 2 --seed 7 --nb 04"),
        ("test", "-m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder"),
        ("lab", "-m jupyterlab --notebook-dir notebooks" + " --allow-root" * (os.geteuid() == 0)),
        ("record", "-m lib.recorder --profile paper"),
        ("record PROFILE=smoke ONLY=C11 HOURS=0.5", "-m lib.recorder --profile smoke --only C11 --hours 0.5"),
        ("record WORKERS=2", "-m lib.recorder --profile paper --workers 2"),
        ("record SCHEDULER=tcp://h:8786", "-m lib.recorder --profile paper --scheduler tcp://h:8786"),
        ("evaluate", "-m lib.evaluate"),
        ("bench", "-m tests.bench"),
        ("test-faults", "-m pytest -m faults"),
    ],
)
def test_a_target_runs_its_command_and_a_second_start_nothing_else(ready, arguments, called):
    done = ready.make(*arguments.split())
    assert done.returncode == 0, done.stderr
    assert done.calls == [f".venv/bin/python {called}"]


def test_publish_writes_the_readme_and_the_site(ready):
    calls = ready.make("publish").calls
    assert calls == [".venv/bin/python -m lib.report --publish", ".venv/bin/python -m lib.readme"]


def test_a_failing_command_fails_make(ready):
    assert ready.make("report", FAILS="lib.report").returncode == 2


@pytest.mark.parametrize("jobs", ["-j1", "-j8"])
def test_a_fresh_clone_is_set_up_once(bare, jobs):
    done = bare.make(jobs, "report", "data", "env", SLOW="lib.report")
    assert done.calls == [*SET_UP, ".venv/bin/python -m lib.report", ".venv/bin/python -m lib.data"]
    assert "ready: Python 3.11.7 in .venv" in done.stdout


@pytest.mark.parametrize("name", ["environment.yml", "requirements.lock", "pyproject.toml"])
def test_a_changed_list_is_installed_into_the_same_venv(ready, name):
    later = (ready.folder / ".venv/.ready").stat().st_mtime + 10
    os.utime(ready.folder / name, (later, later))
    assert ready.make("env").calls == SET_UP[1:]


def test_a_moved_folder_is_repaired(ready):
    ready.folder = ready.folder.rename(ready.folder.with_name("elsewhere"))
    assert ready.make("env").calls == SET_UP[1:]
    assert ready.make("env").calls == []


def test_a_stopped_set_up_goes_on(bare):
    assert bare.make("report", FAILS="requirements.lock").returncode == 2
    assert bare.make("env").calls == SET_UP[1:]


def test_a_lock_that_is_cut_off_is_told(bare):
    done = bare.make("env", LACKS="lock")
    assert done.returncode == 2
    assert "requirements.lock does not give what environment.yml pins: is it whole?" in done.stderr
    assert not (bare.folder / ".venv/.ready").exists()
    assert bare.make("env").returncode == 0


def test_a_clock_that_was_set_back_costs_a_look_at_the_lists_and_no_more(ready):
    for name in ("environment.yml", "requirements.lock", "pyproject.toml"):
        os.utime(ready.folder / name, (4e9, 4e9))
    for _ in range(2):
        done = ready.make("report")
        assert done.returncode == 0
        assert done.calls == [*SET_UP[1:], ".venv/bin/python -m lib.report"]


def test_a_broken_venv_is_made_again(ready):
    python = ready.folder / ".venv/bin/python"
    python.unlink()
    python.symlink_to("gone")
    assert ready.make("env").calls == SET_UP


def test_a_venv_without_pip_is_made_again(bare):
    bare.python(bare.folder / ".venv/bin/python", "3.11.7")
    assert bare.make("env", LACKS="pip").calls == [".venv/bin/python -m venv --clear .venv", *SET_UP[1:]]


def test_a_python_may_be_named(ready):
    ready.python(ready.bin / "python3.12", "3.12.1")
    assert ready.make("env", "PYTHON=python3.12").calls[0] == "python3.12 -m venv --clear .venv"
    assert ready.make("env", "PYTHON=python3.12").calls == []
    assert "Python 3.12.1" in ready.make("env").stdout  # and stays, when it is not named again


def test_another_python_is_found_when_python3_will_not_do(bare):
    bare.python(bare.bin / "python3", "3.10.13", fits=False)
    bare.python(bare.bin / "python3.12", "3.12.1")
    assert bare.make("env").calls[0] == "python3.12 -m venv --clear .venv"


@pytest.mark.parametrize("named", [(), ("PYTHON=python3.10",)])
def test_a_wrong_python_is_one_clear_line(bare, named):
    bare.python(bare.bin / "python3", "3.10.13", fits=False)
    bare.python(bare.bin / "python3.10", "3.10.13", fits=False)
    done = bare.make("report", *named)
    said, stop = done.stderr.splitlines()
    assert said == "Python 3.10.13 found, another is needed"
    assert stop.startswith("make: ***")
    assert done.calls == []


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_an_active_environment_is_used_as_it_is_if_it_has_the_pins(bare, tmp_path, variable):
    active = tmp_path / "their own"
    bare.python(active / "bin/python", "3.13.0")
    assert bare.make("report", **{variable: str(active)}).calls == [f"{active}/bin/python -m lib.report"]
    done = bare.make("data", **{variable: str(active), "LACKS": "pins"})
    assert done.stdout.splitlines()[0] == f"using .venv, not the active {active}: numpy is 1, not 2"
    assert done.calls == [*SET_UP, ".venv/bin/python -m lib.data"]
    assert "VIRTUAL_ENV= " in done.stdout
    assert bare.make("data", "PYTHON=python3", **{variable: str(active)}).calls == [".venv/bin/python -m lib.data"]


def test_an_active_environment_that_is_gone_or_our_own_is_none(ready):
    assert "using .venv, not the active /gone" in ready.make("env", VIRTUAL_ENV="/gone").stdout
    assert ready.make("env", VIRTUAL_ENV=str(ready.folder / ".venv"), LACKS="pins").stdout.startswith("ready:")


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        ("audit", "maintain"),
        ("record WORKERS=2", "cluster"),
        ("bench", "bench"),
        ("report GPU=1", "gpu"),
    ],
)
def test_a_missing_extra_is_installed_first(ready, arguments, extra):
    first, *rest = ready.make(*arguments.split(), LACKS=extra).calls
    assert first == f".venv/bin/python -m pip --disable-pip-version-check install -qq {extra}==1"
    assert rest


def test_no_extra_is_installed_unasked(ready):
    everything = " ".join(EXTRAS)
    assert ready.make("report", "GPU=0", LACKS=everything).calls == [".venv/bin/python -m lib.report"]
    assert ready.make("record", LACKS=everything).calls == [".venv/bin/python -m lib.recorder --profile paper"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("report PROFIL=quick", "make report takes no PROFIL: choose from NB PROFILE SEED SEEDS PYTHON GPU DATA_DIR"),
        ("report HOURS=2", "make report takes no HOURS: choose from NB PROFILE SEED SEEDS PYTHON GPU DATA_DIR"),
        ("record ONLY=C1 profile=x", "make record takes no profile: choose from HOURS ONLY PROFILE SCHEDULER WORKERS"),
        ("PROFIL=quick", "make TARGET takes no PROFIL: choose from HOURS NB ONLY PROFILE SCHEDULER SEED SEEDS WORKERS"),
        ("report GPU=yes", "GPU=yes: choose from 0 1"),
        ("report DATA_DIR=nowhere", "DATA_DIR=nowhere is not a folder"),
    ],
)
def test_a_misspelt_variable_is_told_the_choices(bare, arguments, said):
    done = bare.make(*arguments.split())
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.calls == []


def test_paths_are_absolute_for_the_notebooks(ready):
    data = ready.folder.parent / "some data"
    data.mkdir()
    expected = f"DATA_DIR={data} VIRTUAL_ENV= PYTHONPATH={ready.folder}\n"
    assert ready.make("data", "DATA_DIR=../some data").stdout == expected
    assert ready.make("data", DATA_DIR="../some data").stdout == expected


def test_audit_without_an_answer_is_not_a_pass(ready):
    assert ready.make("audit").stdout == "audit: no known vulnerability\n"
    found = ready.make("audit", AUDIT="numpy 1 CVE")
    assert (found.returncode, found.stdout) == (2, "numpy 1 CVE\n")
    nothing = ready.make("audit", AUDIT="silence")
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert nothing.stderr.startswith("audit: not done")


def test_lock_is_resolved_for_every_python_and_machine_with_hashes(ready):
    (call,) = ready.make("lock").calls
    assert {"--universal", "--generate-hashes", "--no-emit-index-url"} <= set(call.split())
    assert call.endswith(" --output-file requirements.lock -")


def test_clean_keeps_the_environment_and_the_evidence(ready):
    for folder in ("build/runs", "results", "report", "lib/__pycache__", "tests"):
        (ready.folder / folder).mkdir(parents=True)
    assert ready.make("clean").returncode == 0
    left = {path.name for path in ready.folder.iterdir()}
    assert left >= {".venv", "results", "report", "lib"}
    assert "build" not in left
    assert not (ready.folder / "lib/__pycache__").exists()


def test_continuous_integration_runs_the_tests_and_fails_with_them(ready):
    (ready.bin / "chromium").symlink_to("/bin/true")  # else it would be installed
    *installed, checked, styled, tested = ready.run("bash", ".ci/run").calls
    assert all("-m pip install" in call for call in installed)
    ruff = ".venv/bin/python -m ruff"
    assert (checked, styled) == (f"{ruff} check --quiet .", f"{ruff} format --check --quiet .")
    assert tested == ".venv/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder"
    for step in ("pytest", "ruff check", "ruff format"):
        assert ready.run("bash", ".ci/run", FAILS=step).returncode != 0


def test_the_static_check_looks_for_holes():
    """Ruff's security rules are on in lib, so that no pickle, no eval and no shell comes in unseen."""
    code = "import pickle\nimport subprocess\n\npickle.loads(b'')\neval('1')\nsubprocess.run('ls', shell=True)\n"
    command = ["-m", "ruff", "check", "--no-cache", "--output-format=concise", "--stdin-filename=lib/x.py", "-"]
    found = subprocess.run([sys.executable, *command], input=code, capture_output=True, text=True, cwd=ROOT).stdout
    assert {"S301", "S307", "S602"} <= set(re.findall(r"S\d+", found))
