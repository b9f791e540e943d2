"""What a machine can compute in."""

import os
import re
import subprocess
import sys

import pytest

from lib import backend, machine, runs


@pytest.mark.parametrize(
    ("vendor", "flags", "gpus", "expected"),
    [
        ("AuthenticAMD", "fpu avx512_bf16 sse", [], "bfloat16"),
        ("GenuineIntel", "fpu avx512_bf16 amx_bf16", [], "bfloat16"),
        ("GenuineIntel", "fpu avx512_bf16", [], "float32"),  # at half the speed
        ("AuthenticAMD", "fpu avx512f", [], "float32"),  # emulated
        ("AuthenticAMD", "fpu not_avx512_bf16_at_all", [], "float32"),
        ("", "", [], "float32"),
        ("", "", ["gpu:0"], "bfloat16"),
    ],
)
def test_bfloat16_only_where_it_is_faster(monkeypatch, vendor, flags, gpus, expected):
    monkeypatch.setattr(machine, "cpu_info", {"vendor_id": vendor, "flags": flags}.get)
    monkeypatch.setattr(machine, "gpus", lambda: gpus)
    assert machine.real_precision() == machine.real_precision("auto") == expected
    for asked in ("float32", "bfloat16"):
        assert machine.real_precision(asked) == asked


def test_the_processor_is_read_from_what_linux_says_of_it(monkeypatch, tmp_path):
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "CPUINFO", file)
    assert machine.cpu_info("flags") == "", "as on a Mac"
    file.write_text("processor\t: 0\nmodel name\t: A: B\nflags\t\t: fpu amx_bf16\n\nprocessor\t: 1\nflags\t\t: fpu\n")
    assert machine.cpu_info("model name") == "A: B"
    assert machine.cpu_info("flags") == "fpu amx_bf16"
    assert machine.cpu_info("lags") == ""


@pytest.mark.parametrize(
    ("flags", "slow_gradients", "slow_bfloat16"),
    [("avx512_bf16 amx_bf16", True, False), ("avx512_bf16", False, False), ("avx2 avx512f", False, True)],
)
def test_what_is_slow_on_a_processor(monkeypatch, flags, slow_gradients, slow_bfloat16):
    def found():  # not what was found of this machine
        return [detect.__wrapped__() for detect in (backend.slow_kernel_gradients, backend.slow_bfloat16)]

    monkeypatch.setattr(machine, "cpu_info", {"vendor_id": "AuthenticAMD", "flags": flags}.get)
    monkeypatch.setattr(machine, "gpus", list)
    assert found() == [slow_gradients, slow_bfloat16]
    monkeypatch.setattr(machine, "gpus", lambda: ["gpu:0"])
    assert found() == [False, False], "its kernels are others"


@pytest.mark.parametrize(("given", "expected"), [({}, "1"), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "0")])
def test_onednn_is_used_unless_asked_otherwise(given, expected):
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    show = "import os, lib; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    shown = subprocess.check_output([sys.executable, "-c", show], env=environment | given, cwd=runs.ROOT, text=True)
    assert shown.strip() == expected


def test_unknown_precision():
    with pytest.raises(ValueError, match="unknown precision 'half'; choose one of auto, float32, bfloat16"):
        machine.real_precision("half")


def test_the_commit_is_dirty_by_changes_but_those_of_publishing(monkeypatch, tmp_path):
    def git(*arguments):
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=x", "-c", "user.email=x", *arguments], check=True)

    places = [tmp_path / name for name in ("lib/machine.py", "report/index.html", "README.md")]
    for place in places:
        place.parent.mkdir(exist_ok=True)
        place.write_text("1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "x")
    monkeypatch.setattr(machine, "__file__", str(places[0]))
    clean = machine.commit()
    assert re.fullmatch("[0-9a-f]{7,}", clean)
    for place in places[1:]:
        place.write_text("2")
    assert machine.commit() == clean
    places[0].write_text("2")
    assert machine.commit() == f"{clean}-dirty"
