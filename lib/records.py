"""A finished run on disk, `<store>/<key>/record.json` and its weights beside it: written whole or not at all, sealed by
a digest, locked while a process is at work on it."""

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np


class StoreError(RuntimeError):
    """A record or its weights that can't be used; the message names the folder and says what to do."""

    @classmethod
    def damaged(cls, what, folder):
        root = Path(__file__).parents[1]
        name = folder.relative_to(root) if folder.is_relative_to(root) else f"{folder.parent.name}/{folder.name}"
        return cls(f"{what} of {name} is damaged: delete the folder {name} and the run will be made again")


def hashed(value):
    """The SHA-256 of a JSON value, as hex digits; the order of names does not count."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sealed(record):
    """A record with its `digest`: the SHA-256 of all else that it says, by which damage to any of its bytes shows."""
    said = {name: value for name, value in record.items() if name != "digest"}
    return said | {"digest": hashed(said)}


def read_record(folder):
    """The record in a run's folder, as a dict. Raises StoreError where it is damaged or another run's; what the system
    refuses to read is not called damaged, for it need not be made again."""
    try:
        record = json.loads((folder / "record.json").read_text())
        if record == sealed(record) and record["key"] == folder.name:
            return record
    except (ValueError, KeyError, AttributeError, IsADirectoryError):
        pass
    raise StoreError.damaged("the record", folder)


class Busy(RuntimeError):
    """Another process is at work on this run."""


@contextlib.contextmanager
def archive(path):
    """An open npz file; opened here, because np.load leaves a damaged one open."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        yield archive


def arrays(file, also=None):
    """The arrays of an open npz file in the order in which they were saved, but for the one called `also`.

    Raises ValueError where a name is not as np.savez gave it: contents have a checksum in the archive, but names,
    which say which array is which, have none."""
    names = [name for name in file.files if name != also]
    if sorted(names) != sorted(f"arr_{i}" for i in range(len(names))):
        raise ValueError("the names of the arrays are damaged")
    return [file[f"arr_{i}"] for i in range(len(names))]


def read_weights(path):
    """The arrays of a run's file of weights. Raises StoreError where it is damaged, as `read_record`."""
    try:
        with archive(path) as file:
            return arrays(file)
    except (MemoryError, PermissionError):
        raise
    except Exception:  # a damaged file can take a parser anywhere; each array has a checksum of its own
        raise StoreError.damaged("the file of weights", path.parent) from None


def save(folder, record, model=None):
    """Writes a finished run: weights first, the record last, so that a run is done when its record exists."""
    if model is not None:
        arrays = [np.asarray(v) for v in model.variables]
        write(folder / "weights.npz", lambda file: np.savez(file, *arrays))
    write(folder / "record.json", json.dumps(sealed(_finite(record)), indent=1, allow_nan=False) + "\n")
    for leftover in (*folder.glob("checkpoint.npz"), *folder.glob("*.part")):  # of killed processes, half-written
        leftover.unlink()


def _finite(value):
    """A value for JSON, which has no NaN and no infinity: None stands where a run that diverged measured one."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write(path, content: str | bytes | Callable):
    """Writes a file whole or not at all: text, bytes, or what content(file) writes, into a temporary neighbour, flushed
    to disk, then moved into place."""
    part = path.with_name(path.name + f".{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def lock(folder):
    """Holds a run's folder for this process. Raises Busy where another one does."""
    import fcntl

    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(
                file, fcntl.LOCK_EX | fcntl.LOCK_NB
            )  # the system lets go of it when the process ends, however it ends
        except BlockingIOError:
            raise Busy(f"run {folder.name} is being trained by another process") from None
        yield
