"""What a machine can compute in."""

import pytest

from lib import machine


@pytest.mark.parametrize(
    ("flags", "gpus", "expected"),
    [
        ("fpu avx512_bf16 sse", [], "bfloat16"),
        ("fpu amx_bf16", [], "bfloat16"),
        ("fpu avx512f", [], "float32"),  # bfloat16 would be emulated, and many times slower
        ("fpu not_avx512_bf16_at_all", [], "float32"),
        ("", [], "float32"),
        ("", ["gpu:0"], "bfloat16"),
    ],
)
def test_bfloat16_only_where_the_machine_has_it(monkeypatch, flags, gpus, expected):
    monkeypatch.setattr(machine, "cpu_info", lambda what: flags)
    monkeypatch.setattr(machine, "gpus", lambda: gpus)
    assert machine.real_precision() == machine.real_precision("auto") == expected
    for asked in ("float32", "bfloat16"):
        assert machine.real_precision(asked) == asked


def test_unknown_precision():
    with pytest.raises(ValueError, match="unknown precision 'half'; choose one of auto, float32, bfloat16"):
        machine.real_precision("half")
