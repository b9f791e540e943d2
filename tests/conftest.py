"""Fixtures that more than one test file may want."""

import os
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lib import data

# Read at import, before a test changes the environment.
_FOLDERS = [Path(folder) for folder in (os.environ.get("DATA_DIR"), data.cache_folder()) if folder]


LONGEST = ("test_notebooks", "test_lab", "test_train", "test_browser", "test_cluster", "test_models")


def pytest_collection_modifyitems(items):
    """The files that take longest go first: of two processes that take a file each, one would else end alone."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope="session")
def real_data():
    """real_data("mnist"), real_data("cifar10"): the real data, from DATA_DIR or the cache; else the test is skipped."""
    found = {}

    def get(name: str) -> data.Dataset:
        if name not in found:
            found[name] = next(filter(None, (data.from_folder(name, folder, "DATA_DIR") for folder in _FOLDERS)), None)
        if found[name] is None:
            pytest.skip(f"the real {name} is not here: set DATA_DIR, or run `make data`")
        return found[name]

    return get


@pytest.fixture(scope="module")
def browser():
    """A Chromium driven by Playwright; without either the test is skipped."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the extra `browser` is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium here")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture
def shown(monkeypatch):
    """A list that grows by each place of a notebook's output that something is shown at: all that stood there."""
    places = []

    def display(what, display_id=False):
        assert display_id
        places.append([what])
        return SimpleNamespace(update=places[-1].append)

    monkeypatch.setattr("IPython.display.display", display)
    return places


# --- tiny nets and tiny data, for what trains ---


def essence(record):
    """A record without what may differ between two identical runs: the seconds, and the digest over them."""
    return {name: value for name, value in record.items() if name not in ("machine", "digest")}


class Trap:
    """Unpickling it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class TinyDataset(data.Dataset):
    def split(self):
        return np.arange(40, 240), np.arange(40)


def tiny_dataset(name):
    """240 training images, 40 of them for validation, and 60 test images; a class is plain to see by its colour."""
    rng = np.random.default_rng(0)
    spec = data.SPECS[name]
    labels = (np.arange(300) % 10).astype(np.uint8)
    colours = rng.integers(40, 216, (10, 1, 1, spec.shape[-1]))
    images = (colours[labels] + rng.integers(-40, 41, (300, *spec.shape))).astype(np.uint8)
    arrays = images[:240], labels[:240], images[240:], labels[240:]
    return TinyDataset(name, *arrays, spec.classes, standin=True, source="stand-in", identity=f"tiny {name}")


def install_tiny(monkeypatch):
    """Makes `data.load` return tiny data sets, evaluation take small batches, and "tiny" the name of an architecture of
    one stage of two tied steps, which trains in a second. Returns the tiny CIFAR-10."""
    from lib import models, probes

    sets = {name: tiny_dataset(name) for name in data.SPECS}
    monkeypatch.setattr(data, "load", lambda name, standin=False: sets[name])
    tiny_net = partial(models.ResidualNet, depths=(2,), tied=True)
    monkeypatch.setattr(probes, "EVALUATION_BATCH", 60)
    monkeypatch.setitem(models.ARCHITECTURES, "tiny", tiny_net)
    return sets["cifar10"]


@pytest.fixture(scope="module")
def tiny():
    """The tiny CIFAR-10, installed for a test module (see `install_tiny`)."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield install_tiny(monkeypatch)


def randomise(layer, seed=0):
    """Random weights, norms' statistics and affines too: what only ever sees zeros and ones proves nothing."""
    rng = np.random.default_rng(seed)
    for w in layer.weights:
        if "float" in str(w.dtype):
            low, high = (0.5, 1.5) if w.name.startswith(("gamma", "variance")) else (-0.3, 0.3)
            w.assign(rng.uniform(low, high, w.shape))
    return layer
