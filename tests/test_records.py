"""What lies on disk: whole or not at all, and sealed."""

import numpy as np
import pytest
from conftest import Trap

from lib.records import StoreError, read_weights, write


def test_write_is_whole_or_not_at_all(tmp_path):
    path = tmp_path / "record.json"
    write(path, lambda file: file.write(b"old"))

    def failing(file):
        file.write(b"half of the n")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write(path, failing)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    write(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"


def test_weights_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "kept.npz", np.array([Trap(tmp_path / "sprung")]))
    with pytest.raises(StoreError, match="is damaged"):
        read_weights(tmp_path / "kept.npz")
    assert not (tmp_path / "sprung").exists()
