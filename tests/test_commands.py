"""How commands end: a word for what a user can cause, and a traceback for what only we can."""

import os
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lib import claims, commands, data, environment, recorder, report, runs


class Known(Exception):
    pass


class ResourceExhaustedError(Exception):
    """Called as TensorFlow's."""


def ends(capsys, error, *expected):
    def work():
        raise error

    code = commands.ended(work, *expected, interrupted="it goes on from there")
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (Known("the disk is upside down"), 1, "the disk is upside down"),
        (KeyboardInterrupt(), 130, "it goes on from there"),
        (PermissionError(13, "Permission denied", "build"), 1, "build: Permission denied"),
        (OSError(28, "No space left on device"), 1, "the disk: No space left on device"),
        (TimeoutError(), 1, "TimeoutError: "),
        (OSError("timed out"), 1, "OSError: timed out"),
        (MemoryError("Unable to allocate 3 GiB"), 1, "out of memory (Unable to allocate 3 GiB): what was finished"),
        (ResourceExhaustedError("OOM when allocating"), 1, "out of memory in TensorFlow: what was finished is kept"),
    ],
)
def test_what_a_user_can_cause_is_one_line(capsys, error, code, line):
    found, err = ends(capsys, error, Known)
    assert found == code
    assert err.startswith(line)
    assert err.count("\n") == 1


def test_a_fault_of_ours_keeps_its_traceback(capsys):
    with pytest.raises(Known):
        ends(capsys, Known("not expected here"))
    assert commands.ended(lambda: None) == 0
    assert commands.ended(lambda: 3) == 3


OPTIONS = [
    (claims, "--runs"),
    (claims, "--profile"),
    (runs, "--runs"),
    (recorder, "--profile"),
    (recorder, "--only"),
    (recorder, "--hours"),
    (recorder, "--workers"),
    (report, "--profile"),
    (report, "--nb"),
    (report, "--seed"),
    (report, "--seeds"),
]


@pytest.mark.parametrize(("module", "option"), OPTIONS, ids=lambda part: getattr(part, "__name__", part))
@settings(max_examples=40, deadline=None)
@example(value="a name longer than any file system takes" * 200)
@given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Nd"]), min_size=1))
def test_no_value_of_an_option_is_a_traceback(module, option, value):
    """Whatever stands behind an option, exit 2 comes before any work."""
    with pytest.raises(SystemExit) as ended:
        module.main([option, "x" + value])
    assert ended.value.code == 2


@pytest.mark.parametrize("module", [claims, data, environment, recorder, report, runs], ids=lambda m: m.__name__)
@settings(max_examples=20, deadline=None)
@given(words=st.lists(st.text(), min_size=1))
def test_no_unknown_option_is_a_traceback(module, words):
    with pytest.raises(SystemExit) as ended:
        module.main(["--no-such-option", *words])
    assert ended.value.code == 2


@pytest.mark.parametrize("command", [("recorder", "--only", "C14"), ("report", "--nb", "01")], ids=["record", "report"])
def test_a_folder_that_cannot_be_written_is_one_line(command):
    """Below /proc nobody can make a folder, not even root."""
    module, *arguments = command
    done = subprocess.run(
        [sys.executable, "-m", f"lib.{module}", "--profile", "smoke", *arguments],
        env=os.environ | {"RECNET_BUILD": "/proc/nowhere"},
        cwd=runs.ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("/proc/nowhere: ")


def test_too_little_memory_is_one_line():
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1 << 30,) * 2); "
    code += "from lib import runs, commands; import numpy; "
    code += "sys.exit(commands.ended(lambda: numpy.ones(1 << 28).sum() and None))"
    one_thread = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # each has its own memory
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=runs.ROOT, capture_output=True, text=True, timeout=100, env=one_thread
    )
    assert done.returncode == 1
    assert done.stderr.startswith("out of memory (Unable to allocate 2.00 GiB")
    assert done.stderr.count("\n") == 1


def test_a_reader_who_has_enough_is_no_error():
    """As `head`, which closes the pipe after its lines."""
    code = "from lib import commands; sys.exit(commands.ended(lambda: print('line\\n' * 100_000)))"
    command = f'{sys.executable} -c "import sys; {code}" | head -n 1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], cwd=runs.ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("line\n", "", 141)
