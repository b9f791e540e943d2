"""What a machine can compute in."""

import pytest

from lib import machine


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


def test_unknown_precision():
    with pytest.raises(ValueError, match="unknown precision 'half'; choose one of auto, float32, bfloat16"):
        machine.real_precision("half")
