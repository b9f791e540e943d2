"""MNIST and CIFAR-10: where they come from, how they are checked, split and augmented.

`load` looks in the folder DATA_DIR, then in the user's cache, then asks the mirrors, and at last draws *stand-in* data
of the same shapes, so that every command works without a network. What counts as the real data set is decided by a hash
of the decoded arrays, so every official form is as good as the other: for MNIST the four idx files, gzipped or not, or
Keras' mnist.npz; for CIFAR-10 the archive of the binary version, packed or unpacked. Nothing is ever unpickled.

Environment: DATA_DIR is the folder looked at first; XDG_CACHE_HOME moves the cache; RECNET_STANDIN=1 makes every `load`
return stand-in data at once (the report sets it for its notebooks after a failed download, so that none tries again).

    python -m lib.data    fetch or verify both; exit 0 real data, 1 not, 2 bad arguments, 130 interrupted
"""

import argparse
import base64
import gzip
import hashlib
import html
import io
import os
import sys
import tarfile
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lib import commands, standin
from lib.commands import say


class DataError(Exception):
    """Data that can't be used. The message is one line: which file, what is wrong, what to do."""


@dataclass(frozen=True)
class Spec:
    """What is known of a data set before it is read."""

    classes: tuple[str, ...]
    n_train: int
    n_test: int
    shape: tuple[int, int, int]  # of an image: height, width, channels
    identity: str  # of the official arrays
    mirrors: dict[str, dict[str, str]]  # {base URL: {file: its published sha256}}, in the order they are asked


_NPZ = {"mnist.npz": "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"}
_IDX = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
_ARCHIVE = "cifar-10-binary.tar.gz"
_TAR = {_ARCHIVE: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"}
_BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")

# Each identity was taken from files of the hashes that the authors published; `load` refuses, and names, any other.
SPECS = {
    "mnist": Spec(
        classes=tuple("0123456789"),
        n_train=60_000,
        n_test=10_000,
        shape=(28, 28, 1),
        identity="3ecac59dc32d10015cd95f644c957b63dfa32cbcf3b0bc986a9f877eb3968cf0",
        mirrors={
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/": _NPZ,
            "https://ossci-datasets.s3.amazonaws.com/mnist/": _IDX,
            "https://storage.googleapis.com/cvdf-datasets/mnist/": _IDX,
        },
    ),
    "cifar10": Spec(
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        n_train=50_000,
        n_test=10_000,
        shape=(32, 32, 3),
        identity="e36ee079e1e5e6643c6e19655b4eaef8cde55e0a35da2a81d48a74496b3a93fe",
        mirrors={
            "https://www.cs.toronto.edu/~kriz/": _TAR,
            "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/": _TAR,
            "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/": _TAR,
        },
    ),
}

# Per channel, of all training images: `(x_train / 255).mean(axis=(0, 1, 2))`, and `.std` alike.
MEAN_STD = {"mnist": ((0.13066,), (0.30811,)), "cifar10": ((0.4914, 0.48216, 0.44653), (0.24703, 0.24349, 0.26159))}

HOW_TO_GET = "for the real data, put mnist.npz and cifar-10-binary.tar.gz into a folder and set DATA_DIR to it"

WINDOW = 5.0  # s
MIN_SPEED = 250e3  # bytes/s over a WINDOW, below which a host is given up; CIFAR-10 takes 11 minutes at this speed
LARGEST = 200e6  # bytes of a file, beyond which a download is broken off: CIFAR-10 has 170 MB

_SEED = 2016  # never to be changed: the recorded runs were trained on the splits and subsets it gives
_VALIDATION = {"mnist": 1_000, "cifar10": 5_000}  # of the training images


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory. The arrays are read-only, for `load` hands the same ones to every caller."""

    name: str  # "mnist" or "cifar10"
    x_train: np.ndarray = field(repr=False)  # uint8 (N, H, W, C), in the official order
    y_train: np.ndarray = field(repr=False)  # uint8 (N,), 0 to 9
    x_test: np.ndarray = field(repr=False)
    y_test: np.ndarray = field(repr=False)
    classes: tuple[str, ...]
    standin: bool  # drawn by this project, not the real data set
    source: str  # "DATA_DIR", "cache", "download" or "stand-in"
    identity: str  # sha256 of the decoded arrays, hexadecimal

    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices into x_train, ascending: (training, validation). Stratified, always the same."""
        validation = _stratified(self.y_train, _VALIDATION[self.name], (0,))
        return np.setdiff1d(np.arange(len(self.y_train)), validation), validation

    def subset(self, n: int, draw: int = 0, of: str = "train") -> np.ndarray:
        """Ascending indices of `n` images in the class proportions of the whole; always the same for (n, draw, of).

        `of`: "train" (x_train without the validation images), "all" (x_train) or "test" (x_test).
        Raises ValueError if `of` is none of these or has fewer than `n` images, or `draw` is no number from 0 on.
        """
        if of not in ("train", "all", "test"):
            raise ValueError(f"of={of!r}: choose from train, all, test")
        labels = self.y_test if of == "test" else self.y_train
        pool = self.split()[0] if of == "train" else np.arange(len(labels))
        if not isinstance(n, int) or not 1 <= n <= len(pool):
            asked = f"{n:,}" if isinstance(n, int) else repr(n)
            raise ValueError(f"{asked} images asked of {self.name}, {of!r}: choose from 1 to {len(pool):,}")
        if not isinstance(draw, int) or draw < 0:
            raise ValueError(f"draw={draw!r}: choose 0, 1, ...")
        return pool[_stratified(labels[pool], n, (1, draw))]

    def _repr_html_(self) -> str:
        from PIL import Image

        png, classes = io.BytesIO(), [html.escape(name) for name in self.classes]
        examples = np.hstack([self.x_train[np.argmax(self.y_train == label)] for label in range(10)])
        Image.fromarray(examples.squeeze()).save(png, "PNG")
        counts = zip(classes, np.bincount(self.y_train), np.bincount(self.y_test), strict=True)
        rows = "".join(f"<tr><th>{c}</th><td>{train:,}</td><td>{test:,}</td></tr>" for c, train, test in counts)
        return (
            f"<table><caption>{self.name} ({self.source}): training, test images of each class</caption>{rows}</table>"
            f"<img style='height:4em;max-width:100%' alt='a training image of each class: {', '.join(classes)}' "
            f"src='data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}'>"
        )


def _stratified(labels: np.ndarray, n: int, seed: tuple[int, ...]) -> np.ndarray:
    """Ascending positions of `n` labels, each class in proportion; the largest remainders get what is left over.

    Drawn by raw bits, because numpy promises never to change those; of Generator's methods it does not promise it.
    """
    counts = np.bincount(labels, minlength=10)
    quota = counts * n / counts.sum()
    take = quota.astype(int)
    take[np.argsort(take - quota, kind="stable")[: n - take.sum()]] += 1
    order = np.lexsort((np.random.PCG64([_SEED, *seed]).random_raw(len(labels)), labels))  # by class, then at random
    rank = np.arange(len(labels)) - np.repeat(counts.cumsum() - counts, counts)  # within the class
    return np.sort(order[rank < take[labels[order]]])


def _dataset(name: str, arrays: list[np.ndarray], source: str, classes: tuple[str, ...] = ()) -> Dataset:
    digest = hashlib.sha256()
    for array in arrays:
        array.flags.writeable = False
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
    return Dataset(name, *arrays, classes or SPECS[name].classes, source == "stand-in", source, digest.hexdigest())


_KEYS = ("x_train", "y_train", "x_test", "y_test")


@contextmanager
def _reading(path: Path):
    """Whatever goes wrong while `path` is read becomes a DataError that names it."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:  # a damaged file can take a parser anywhere
        reason = getattr(error, "strerror", None) or f"it is truncated, damaged or not a {path.suffix} file"
        raise DataError(f"{path} can't be read: {reason}") from None


def _layout(name: str) -> dict[str, tuple[int, int, bytes, int, int]]:
    """{official file: (place of its first image, number of images, magic number, bytes in the header, bytes an image)}.

    MNIST: magic number, lengths of the axes, then the values (http://yann.lecun.com/exdb/mnist/).
    CIFAR-10: of each image the label, then the pixels as planes R, G, B (https://www.cs.toronto.edu/~kriz/cifar.html).
    """
    n, m, pixels = SPECS[name].n_train, SPECS[name].n_test, prod(SPECS[name].shape)
    if name == "cifar10":
        return {file: (i * m, m, b"", 0, 1 + pixels) for i, file in enumerate(_BATCHES)}
    images, labels = (b"\0\0\x08\x03", 16, pixels), (b"\0\0\x08\x01", 8, 1)
    return dict(zip(_IDX, [(0, n, *images), (0, n, *labels), (n, m, *images), (n, m, *labels)], strict=True))


def _read(name: str, folder: Path):
    """(path, [x_train, y_train, x_test, y_test]) if `folder` itself holds files of the data set, else None."""
    npz, archive = folder / f"{name}.npz", folder / _ARCHIVE
    if npz.exists():  # Keras' mnist.npz, or what `_store` left in the cache
        with _reading(npz), npz.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            most = 1024 + SPECS[name].n_train * prod(SPECS[name].shape)  # a header and the training images
            if any(member.file_size > most for member in arrays.zip.infolist()):
                raise DataError(f"{npz} is refused: it unpacks to more than {name} has")
            shapes = zip(_KEYS, 2 * [(-1, *SPECS[name].shape), (-1,)], strict=True)
            return npz, [arrays[k].astype(np.uint8, casting="safe", copy=False).reshape(shape) for k, shape in shapes]
    if name not in ("mnist", "cifar10"):
        return None  # a data set that was added has this form alone
    paths = {file: _spelt(folder, file) for file in _layout(name)}
    if any(map(Path.exists, paths.values())):
        return folder, _decode(name, _loose_files(paths))
    if name == "cifar10" and archive.exists():
        return archive, _decode(name, _packed_files(archive, set(paths)))
    return None


def _spelt(folder: Path, file: str) -> Path:
    """Where `file` lies in `folder`, if not under its official name then as some programs name and unpack it."""
    names = [form for stem in (file, file.replace("-idx", ".idx")) for form in (stem, stem.removesuffix(".gz"))]
    return next((folder / name for name in names if (folder / name).exists()), folder / file)


def _loose_files(paths: dict[str, Path]):
    for file, path in paths.items():
        with _reading(path), (gzip.open if path.suffix == ".gz" else Path.open)(path, "rb") as stream:
            yield file, path, stream


def _packed_files(path: Path, missing: set[str]):
    """Read in place: no member of the archive is ever written to disk."""
    with _reading(path), tarfile.open(path, "r:gz") as archive:
        for member in archive:
            *folders, file = member.name.split("/")
            if "" in folders or ".." in folders:
                raise DataError(f"{path} is refused: its member {member.name!r} points out of the archive")
            if file in missing and member.isreg():
                missing.remove(file)
                yield file, path / file, archive.extractfile(member)
    if missing:
        raise DataError(f"{path} is incomplete: it has no {min(missing)}")


def _decode(name: str, files) -> list[np.ndarray]:
    """The four arrays out of (official name, path, stream) of each file."""
    spec, layout = SPECS[name], _layout(name)
    height, width, channels = spec.shape
    images = np.empty((spec.n_train + spec.n_test, *spec.shape), np.uint8)
    labels = np.empty(len(images), np.uint8)
    for file, path, stream in files:
        start, n, magic, header, row = layout[file]
        size = header + n * row
        with _reading(path):
            content = stream.read(size + 1)
        if len(content) != size:
            raise DataError(f"{path} is truncated or too long: expected {size:,} bytes, found {len(content):,}")
        if not content.startswith(magic):
            raise DataError(f"{path} has the wrong magic number 0x{content[:4].hex()}, expected 0x{magic.hex()}")
        rows, part = np.frombuffer(content, np.uint8, offset=header).reshape(n, row), slice(start, start + n)
        if row != prod(spec.shape):  # a label, alone or before the pixels
            labels[part] = rows[:, 0]
            if labels[part].max() > 9:
                raise DataError(f"{path} has the label {labels[part].max()}: labels are 0 to 9")
        if row > 1:
            planes = rows[:, -prod(spec.shape) :].reshape(n, channels, height, width)
            for channel in range(channels):  # strided copies: faster than one transposition
                images[part, ..., channel] = planes[:, channel]
    return [images[: spec.n_train], labels[: spec.n_train], images[spec.n_train :], labels[spec.n_train :]]


def from_folder(name: str, folder: Path, source: str) -> Dataset | None:
    """The real data set `name` out of `folder` or one of its usual subfolders; None if none of its files is there.

    Raises DataError if they are there but damaged, or decode to anything but the official arrays.
    """
    for place in ("", "mnist", "MNIST", "MNIST/raw", "cifar-10-batches-bin"):
        with _reading(folder / place):
            path, arrays = _read(name, folder / place) or (None, None)
        if path:
            dataset = _dataset(name, arrays, source)
            if dataset.identity != SPECS[name].identity:
                raise DataError(f"{path} is not the official {name}: its arrays have sha256 {dataset.identity}")
            return dataset
    return None


def wants_standin() -> bool:
    """Whether the environment asks for stand-in data: RECNET_STANDIN=1, or what the profile smoke sets."""
    return os.environ.get("RECNET_STANDIN") in ("1", "smoke")


def load(name: str, standin: bool = False) -> Dataset:
    """The data set "mnist" or "cifar10" from the first source that has it; asked again, the very same object.

    `standin=True`, or RECNET_STANDIN=1 in the environment, gives stand-in data without looking any further.
    Raises ValueError for another name, DataError for a DATA_DIR that is no folder or holds damaged files.
    """
    if name not in SPECS:
        raise ValueError(f"unknown data set {name!r}: choose from {', '.join(SPECS)}")
    if standin or wants_standin():
        return _stand_in(name)
    return _load(name, os.environ.get("DATA_DIR", ""))


@lru_cache
def _load(name: str, data_dir: str) -> Dataset:
    if data_dir and not commands.is_folder(data_dir):
        raise DataError(f"DATA_DIR={data_dir} is not a folder: set it to the folder with the data, or unset it")
    try:
        dataset = from_folder(name, Path(data_dir), "DATA_DIR") if data_dir else None
    except DataError as error:
        raise DataError(f"{error}; put the official file there, or unset DATA_DIR to have it downloaded") from None
    try:
        dataset = dataset or from_folder(name, cache_folder(), "cache")
    except DataError as error:
        say(f"{error}; fetching it again")
    return dataset or _download(name) or _stand_in(name)


def cache_folder() -> Path:
    """Where downloaded data sets are kept, one npz file each."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recnet-report"


_silent_hosts: set[str] = set()


def _download(name: str) -> Dataset | None:
    """Ask the mirrors in turn, keep what the first good one delivers in the cache; None if none does."""
    for base, files in SPECS[name].mirrors.items():
        host = base.split("/")[2]
        if host in _silent_hosts:
            continue
        try:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                for file, sha256 in files.items():
                    say(f"{name}: fetching {file} from {host}")
                    _fetch(base + file, sha256, folder)
                dataset = from_folder(name, Path(folder), "download")
            _store(dataset)
            return dataset
        except (OSError, ValueError, ImportError, DataError) as error:  # ValueError: pooch's word for a wrong hash
            if isinstance(error, TimeoutError):
                _silent_hosts.add(host)
            say(f"{name}: {host} failed: {type(error).__name__}, {error!s:.100}")
    say(f"{name}: no mirror delivers it, so stand-in data are drawn")
    return None


def _fetch(url: str, sha256: str, folder: str) -> None:
    """Download `url` into `folder` and check it. Raises TimeoutError for a slow host, else what pooch raises.

    A host that is silent or slow costs WINDOW seconds and is not asked again by this process: a machine without a
    network waits for 20 s at most, on four hosts, for both data sets together. The work is done in a thread that can be
    left behind, since no timeout of requests bounds the look-up of a name, the trial of every address of a host, or a
    trickle of bytes.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    transfer, before, errors = _Transfer(), 0, []

    def work() -> None:
        try:
            pooch.retrieve(url, sha256, url.rpartition("/")[2], folder, downloader=transfer)
        except Exception as error:  # raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(WINDOW)
    while thread.is_alive():
        speed, before = (transfer.received - before) / WINDOW, transfer.received
        if speed < MIN_SPEED:
            transfer.abandoned = True
            raise TimeoutError(f"less than {MIN_SPEED / 1e3:.0f} kB/s")
        say(f"  {before / 1e6:.0f} of {transfer.total / 1e6:.0f} MB, {speed / 1e6:.1f} MB/s")
        thread.join(WINDOW)
    if errors:
        raise errors[0]


class _Transfer:
    """A downloader for pooch that counts bytes, closes what it opened, and stops once nobody waits for it any more."""

    total = received = 0
    abandoned = False

    def __call__(self, url: str, output_file: str, _pooch) -> None:
        import requests

        with requests.get(url, stream=True, timeout=2 * WINDOW) as response, Path(output_file).open("wb") as file:
            response.raise_for_status()
            self.total = int(response.headers.get("Content-Length", 0))
            for chunk in response.iter_content(1 << 16):
                if self.abandoned:
                    return
                self.received += file.write(chunk)
                if self.received > LARGEST:
                    raise OSError(f"more than {LARGEST / 1e6:.0f} MB, which no file of ours has")


def _store(dataset: Dataset) -> None:
    """Keep a data set in the cache. Atomic: another process sees all of it or nothing."""
    folder, file = cache_folder(), f"{dataset.name}.npz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as part:
            np.savez(Path(part, file), **{key: getattr(dataset, key) for key in _KEYS})
            Path(part, file).replace(folder / file)
    except OSError as error:
        say(f"{dataset.name}: can't be kept in {folder} ({error.strerror}): the next process will fetch it again")


@lru_cache
def _stand_in(name: str) -> Dataset:
    spec = SPECS[name]
    arrays, classes = standin.draw(name, spec.n_train, spec.n_test, spec.shape, np.random.default_rng(_SEED))
    return _dataset(name, arrays, "stand-in", classes)


def augment(images: np.ndarray, rng: np.random.Generator, pad: int = 4, flip: bool = True) -> np.ndarray:
    """Random crops after zero padding by `pad` pixels, then random horizontal flips, drawn for
    each image by itself.

    uint8 (N, H, W, C) in and out. As in He et al. 2016, section 4.2; Keras' own RandomCrop draws
    one offset per batch. Raises ValueError for arrays of other axes and a negative `pad`.
    """
    _check_axes(images)
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    # (N, 2 pad + 1, 2 pad + 1, C, H, W)
    windows = sliding_window_view(padded, images.shape[1:3], axis=(1, 2))
    dy, dx = rng.integers(0, 2 * pad + 1, (2, len(images)))
    crops = np.ascontiguousarray(windows[np.arange(len(images)), dy, dx].transpose(0, 2, 3, 1))
    if flip:
        flipped = rng.random(len(images)) < 0.5
        crops[flipped] = crops[flipped, :, ::-1]
    return crops


def _check_axes(images: np.ndarray) -> None:
    if np.ndim(images) != 4:
        raise ValueError(f"images have the axes (N, H, W, C), these have the shape {np.shape(images)}")


def shift(images: np.ndarray, dy: int, dx: int) -> np.ndarray:
    """Images (N, H, W, C) moved down by `dy` and right by `dx` pixels (negative: up, left), filled up with zeros.

    Raises ValueError for arrays of other axes.
    """
    _check_axes(images)
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (abs(dy), abs(dy)), (abs(dx), abs(dx)), (0, 0)))
    top, left = abs(dy) - dy, abs(dx) - dx
    return padded[:, top : top + height, left : left + width]


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns its exit code."""
    argparse.ArgumentParser(prog="python -m lib.data", description="Fetch or verify the data.").parse_args(arguments)
    return commands.ended(_verify, DataError)


def _verify():
    datasets = [load(name) for name in SPECS]
    for d in datasets:
        print(f"{d.name}: {len(d.y_train):,} + {len(d.y_test):,} images from {d.source}, identity {d.identity[:12]}")
    if any(d.standin for d in datasets):
        say(f"these are stand-in data; {HOW_TO_GET}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
