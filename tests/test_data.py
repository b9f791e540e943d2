"""lib/data.py on hand-made miniatures of the data sets, on stand-in data, and on the real data if they are at hand."""

import dataclasses
import gzip
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import tempfile
import threading
import tracemalloc
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from conftest import Trap
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from lib import data

NAMES = ("mnist", "cifar10")
IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
BINS = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
KEYS = ("x_train", "y_train", "x_test", "y_test")
few = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


# --- hand-made data: 50 training and 10 test images, written by code that shares nothing with the readers -------------


def miniature(name: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(len(name))
    shape = {"mnist": (28, 28, 1), "cifar10": (32, 32, 3)}[name]
    return {
        "x_train": rng.integers(0, 256, (50, *shape), dtype=np.uint8),
        "y_train": rng.permutation(np.arange(50) % 10).astype(np.uint8),
        "x_test": rng.integers(0, 256, (10, *shape), dtype=np.uint8),
        "y_test": rng.permutation(10).astype(np.uint8),
    }


def idx_files() -> dict[str, bytes]:
    files = {}
    for file, array in zip(IDX, miniature("mnist").values(), strict=True):
        axes = array.shape[:3] if array.ndim == 4 else array.shape
        header = bytes([0, 0, 8, len(axes)]) + b"".join(axis.to_bytes(4, "big") for axis in axes)
        files[file] = header + array.tobytes()
    return files


def cifar_files() -> dict[str, bytes]:
    arrays = miniature("cifar10")
    images, labels = np.concatenate([arrays["x_train"], arrays["x_test"]]), [*arrays["y_train"], *arrays["y_test"]]
    records = [
        bytes([y]) + b"".join(x[:, :, c].tobytes() for c in range(3)) for x, y in zip(images, labels, strict=True)
    ]
    return {file: b"".join(records[10 * i : 10 * i + 10]) for i, file in enumerate(BINS)}


def tar_file(files: dict[str, bytes], folder: str = "cifar-10-batches-bin/") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for file, content in reversed(files.items()):  # any order will do
            member = tarfile.TarInfo(folder + file)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def npz_file(**arrays: np.ndarray) -> bytes:
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    return packed.getvalue()


def keras_npz() -> bytes:
    return npz_file(**{key: array[..., 0] if array.ndim == 4 else array for key, array in miniature("mnist").items()})


FORMS = {  # name of the form: (data set, {file: content})
    "idx": ("mnist", idx_files()),
    "idx.gz": ("mnist", {f"{file}.gz": gzip.compress(content) for file, content in idx_files().items()}),
    "dotted idx": ("mnist", {file.replace("-idx", ".idx"): content for file, content in idx_files().items()}),
    "npz": ("mnist", {"mnist.npz": keras_npz()}),
    "bin": ("cifar10", cifar_files()),
    "tar": ("cifar10", {"cifar-10-binary.tar.gz": tar_file(cifar_files())}),
}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    return folder


def forget() -> None:
    """As a new process would be: nothing loaded yet, no host given up."""
    data._load.cache_clear()
    data._silent_hosts.clear()


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No test sees this machine's data, cache or proxies, nor the Internet."""
    for variable in (
        "DATA_DIR",
        "RECNET_STANDIN",
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(data, "SPECS", {k: dataclasses.replace(spec, mirrors={}) for k, spec in data.SPECS.items()})
    forget()
    yield
    forget()


@pytest.fixture
def mini(monkeypatch):
    """The miniatures are taken for the official data sets."""
    data._stand_in.cache_clear()
    for name in NAMES:
        spec = dataclasses.replace(data.SPECS[name], n_train=50, n_test=10)
        monkeypatch.setitem(data.SPECS, name, spec)
        official = data._dataset(name, list(miniature(name).values()), "DATA_DIR").identity
        monkeypatch.setitem(data.SPECS, name, dataclasses.replace(spec, identity=official))
    yield
    data._stand_in.cache_clear()


def assert_is_miniature(dataset: data.Dataset) -> None:
    for key, array in miniature(dataset.name).items():
        np.testing.assert_array_equal(getattr(dataset, key), array)


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["", "mnist", "MNIST/raw", "cifar-10-batches-bin"])
@pytest.mark.parametrize("form", FORMS)
def test_every_official_form_is_read(mini, monkeypatch, tmp_path, form, place):
    name, files = FORMS[form]
    write(tmp_path / "d" / place, files)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "d"))
    dataset = data.load(name)
    assert (dataset.name, dataset.source, dataset.standin) == (name, "DATA_DIR", False)
    assert_is_miniature(dataset)


DAMAGE = {  # case: (form, file to damage, its new content from the old one, what the message must say)
    "truncated": ("idx", IDX[0], lambda old: old[:-1], r"truncated or too long: expected 39,216 bytes, found 39,215"),
    "too long": ("idx", IDX[1], lambda old: old + b"\0", r"too long: expected 58 bytes, found 59"),
    "empty": ("idx", IDX[3], lambda _: b"", r"truncated or too long: expected 18 bytes, found 0"),
    "magic of labels": (
        "idx",
        IDX[2],
        lambda old: b"\0\0\x08\x01" + old[4:],
        r"magic number 0x00000801, expected 0x00000803",
    ),
    "label": ("idx", IDX[1], lambda old: old[:-1] + b"\x0a", r"the label 10: labels are 0 to 9"),
    "missing": ("idx", IDX[2], None, r"No such file"),
    "folder": ("idx", IDX[0], "folder", r"directory"),
    "another image": (
        "idx",
        IDX[0],
        lambda old: old[:-1] + bytes([old[-1] ^ 1]),
        r"not the official mnist: .* sha256 [0-9a-f]{64}",
    ),
    "gz: not gzip": (
        "idx.gz",
        f"{IDX[0]}.gz",
        lambda old: b"<html>" + old,
        r"it is truncated, damaged or not a \.gz file",
    ),
    "gz: cut": ("idx.gz", f"{IDX[0]}.gz", lambda old: old[:-20], r"it is truncated, damaged or not a \.gz file"),
    "gz: flipped": ("idx.gz", f"{IDX[0]}.gz", lambda old: old[:500] + b"!!!!" + old[504:], r"damaged"),
    "gz: empty": ("idx.gz", f"{IDX[1]}.gz", lambda _: b"", r"truncated or too long: expected 58 bytes, found 0"),
    "npz: cut": ("npz", "mnist.npz", lambda old: old[:-30], r"damaged or not a \.npz file"),
    "npz: empty": ("npz", "mnist.npz", lambda _: b"", r"damaged or not a \.npz file"),
    "npz: folder": ("npz", "mnist.npz", "folder", r"directory"),
    "npz: keys": ("npz", "mnist.npz", lambda _: npz_file(x_train=np.zeros(3)), r"damaged or not a \.npz file"),
    "npz: floats": ("npz", "mnist.npz", lambda _: npz_file(**dict.fromkeys(KEYS, np.zeros(784))), r"damaged or not a"),
    "npz: others": (
        "npz",
        "mnist.npz",
        lambda _: npz_file(**dict.fromkeys(KEYS, np.zeros(784, np.uint8))),
        r"not the official",
    ),
    "bin: cut": ("bin", BINS[5], lambda old: old[:3073], r"truncated or too long: expected 30,730 bytes, found 3,073"),
    "bin: label": ("bin", BINS[2], lambda old: b"\xff" + old[1:], r"the label 255: labels are 0 to 9"),
    "bin: missing": ("bin", BINS[3], None, r"No such file"),
    "bin: folder": ("bin", BINS[0], "folder", r"directory"),
    "bin: swapped": ("bin", BINS[0], lambda _: cifar_files()[BINS[1]], r"not the official cifar10"),
    "tar: cut": ("tar", "cifar-10-binary.tar.gz", lambda old: old[:-5000], r"truncated, damaged or not a"),
    "tar: not tar": (
        "tar",
        "cifar-10-binary.tar.gz",
        lambda _: gzip.compress(b"x" * 999),
        r"damaged or not a \.gz file",
    ),
    "tar: not gzip": ("tar", "cifar-10-binary.tar.gz", lambda old: gzip.decompress(old), r"damaged or not a \.gz file"),
    "tar: empty": ("tar", "cifar-10-binary.tar.gz", lambda _: b"", r"damaged or not a \.gz file"),
    "tar: folder": ("tar", "cifar-10-binary.tar.gz", "folder", r"directory"),
    "tar: upwards": (
        "tar",
        "cifar-10-binary.tar.gz",
        lambda _: tar_file(cifar_files(), "../"),
        r"refused: its member '../",
    ),
    "tar: absolute": (
        "tar",
        "cifar-10-binary.tar.gz",
        lambda _: tar_file(cifar_files(), "/etc/"),
        r"refused: its member '/etc/",
    ),
    "tar: one file": (
        "tar",
        "cifar-10-binary.tar.gz",
        lambda _: tar_file({BINS[0]: cifar_files()[BINS[0]]}),
        r"it has no data_batch_2.bin",
    ),
    "tar: short member": (
        "tar",
        "cifar-10-binary.tar.gz",
        lambda _: tar_file({BINS[0]: b"\0" * 5}),
        r"truncated or too long: expected 30,730 bytes, found 5",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_one_line_that_names_the_file_and_the_way_out(mini, monkeypatch, tmp_path, case):
    form, file, change, words = DAMAGE[case]
    name, files = FORMS[form]
    path = write(tmp_path / "d", files) / file
    old = path.read_bytes()
    path.unlink()
    if change == "folder":
        path.mkdir()
    elif change:
        path.write_bytes(change(old))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", "d")  # messages name files as the user does
    with pytest.raises(data.DataError, match=words) as caught:
        data.load(name)
    message = str(caught.value)
    assert message.startswith("d")
    assert "\n" not in message
    assert file in message or "official" in message  # of a whole that is wrong, no single file is to blame
    assert message.endswith("; put the official file there, or unset DATA_DIR to have it downloaded")


def test_nothing_is_unpickled(mini, monkeypatch, tmp_path):
    trap = np.array([Trap(tmp_path / "sprung")])
    write(tmp_path / "d", {"mnist.npz": npz_file(**dict.fromkeys(KEYS, trap))})
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "d"))
    with pytest.raises(data.DataError, match=r"damaged or not a \.npz file"):
        data.load("mnist")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE], ids=["soft", "hard", "device"])
def test_a_link_in_the_archive_is_not_followed(mini, monkeypatch, tmp_path, kind):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo(BINS[0])
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    write(tmp_path / "d", {"cifar-10-binary.tar.gz": packed.getvalue()})
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "d"))
    with pytest.raises(data.DataError, match=r"it has no data_batch_1.bin"):
        data.load("cifar10")


NOTHING = bytes(64_000_000)  # packs to a thousandth


@pytest.mark.parametrize(
    ("name", "file", "bomb"),
    [
        ("mnist", f"{IDX[0]}.gz", lambda: gzip.compress(NOTHING, 1)),
        ("mnist", "mnist.npz", lambda: npz_file(**dict.fromkeys(KEYS, np.frombuffer(NOTHING, np.uint8)))),
        ("cifar10", "cifar-10-binary.tar.gz", lambda: tar_file({BINS[0]: NOTHING})),
        ("cifar10", "cifar-10-binary.tar.gz", lambda: tar_file({"another": NOTHING})),
    ],
    ids=["gz", "npz", "tar", "tar of something else"],
)
def test_a_bomb_is_refused_before_it_is_unpacked(mini, tmp_path, name, file, bomb):
    write(tmp_path, {file: bomb()})
    tracemalloc.start()
    try:
        with pytest.raises(data.DataError, match=re.escape(file)):
            data.from_folder(name, tmp_path, "DATA_DIR")
        assert tracemalloc.get_traced_memory()[1] < len(NOTHING) / 8
    finally:
        tracemalloc.stop()


@few
@given(form=st.sampled_from(sorted(FORMS)), where=st.floats(0, 1), mask=st.integers(0, 255), draw=st.data())
def test_no_damage_gets_through(mini, form, where, mask, draw):
    """A flipped byte or a cut file is either harmless or a DataError; never other arrays, never another exception."""
    name, files = FORMS[form]
    file = draw.draw(st.sampled_from(sorted(files)))
    at = int(where * (len(files[file]) - 1))
    changed = bytearray(files[file])
    changed[at] ^= mask
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), files | {file: bytes(changed if mask else changed[:at])})
        try:
            dataset = data.from_folder(name, Path(folder), "DATA_DIR")
        except data.DataError:
            return
    assert_is_miniature(dataset)


# --- sources ---------------------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Serves `files`: bytes, or a word for what goes wrong. Keeps the paths asked for in `asked`."""

    daemon_threads = True

    def __init__(self):
        self.files, self.asked, self.released, self.left = {}, [], threading.Event(), threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path, "absent")
        if content == "silent":
            self.server.released.wait(10)
            return
        if content == "absent":
            self.send_error(404)
            return
        if isinstance(content, str) and content.startswith("to "):
            self.send_response(302)
            self.send_header("Location", f"/{content[3:]}/{self.path.rpartition('/')[2]}")
            self.end_headers()
            return
        body = content if isinstance(content, bytes) else b"x" * 1000
        self.send_response(200)
        more = 0 if isinstance(content, bytes) else -500 if content == "less" else 2_000_000  # that never come in full
        if content != "endless":
            self.send_header("Content-Length", str(len(body) + more))
        self.end_headers()
        self.wfile.write(body)
        while content == "endless":
            self.wfile.write(body * 100)
        for _ in range({"trickle": 500, "steady": 60}.get(content, 0)):
            self.wfile.write(b"x" * {"trickle": 100, "steady": 20_000}[content])
            self.server.released.wait(0.02)

    def log_message(self, *args):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except ConnectionError:  # the client has gone, as it may
            self.close_connection = True
            self.server.left.set()


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def serve(monkeypatch, server, name: str, mirrors: dict[str, object]) -> None:
    """Let the data set's mirrors be `mirrors`: {folder on the server, or a base URL: what it does}."""
    form = {"mnist": "idx.gz", "cifar10": "tar"}[name]
    hashes = {file: hashlib.sha256(content).hexdigest() for file, content in FORMS[form][1].items()}
    bases = {}
    for folder, behaviour in mirrors.items():
        bases[folder if "://" in folder else f"{server.base}{folder}/"] = hashes
        for file, content in FORMS[form][1].items():
            server.files[f"/{folder}/{file}"] = content if behaviour == "right" else behaviour
    monkeypatch.setitem(data.SPECS, name, dataclasses.replace(data.SPECS[name], mirrors=bases))


@pytest.mark.parametrize("name", NAMES)
def test_mirrors_are_asked_in_turn_and_the_cache_keeps_what_comes(mini, monkeypatch, capfd, server, name):
    refused = "http://127.0.0.1:9/"
    wrong = {
        "wrong": b"something else",
        "gone": "absent",
        "short": "cut",
        "less": "less",
        "circle": "to circle",
        "moved": "to wrong",
        refused: "refused",
        "good": "to elsewhere",  # where from is no matter: the hash decides
        "elsewhere": "right",
    }
    serve(monkeypatch, server, name, wrong)
    first = data.load(name)
    assert (first.source, first.standin) == ("download", False)
    assert_is_miniature(first)
    asked = [path.split("/")[1] for path in server.asked]
    assert list(dict.fromkeys(asked)) == ["wrong", "gone", "short", "less", "circle", "moved", "good", "elsewhere"]
    heard = capfd.readouterr().err
    assert heard.count(" failed: ") == 7
    assert all(word in heard for word in ("hash of downloaded file", "404", "127.0.0.1:9 failed: ", "30 redirects"))

    assert data.load(name) is first  # the same process looks no further
    forget()
    second = data.load(name)
    assert (second.source, second.identity) == ("cache", first.identity)
    assert len(server.asked) == len(asked)
    assert [path.name for path in data.cache_folder().iterdir()] == [f"{name}.npz"]


@pytest.mark.parametrize("behaviour", ["silent", "trickle"])
def test_a_silent_or_slow_host_is_given_up_for_good(mini, monkeypatch, capfd, server, behaviour):
    monkeypatch.setattr(data, "WINDOW", 0.3)
    serve(monkeypatch, server, "mnist", {"a": behaviour, "b": "right"})
    serve(monkeypatch, server, "cifar10", {"c": "right"})
    assert data.load("mnist").standin
    assert data.load("cifar10").standin
    assert len(server.asked) <= 1  # 0 if it was given up before it heard of us
    assert "less than 250 kB/s" in capfd.readouterr().err


def test_a_download_that_was_given_up_stops(mini, monkeypatch, server):
    monkeypatch.setattr(data, "WINDOW", 0.4)
    monkeypatch.setattr(data, "MIN_SPEED", 1e12)
    serve(monkeypatch, server, "cifar10", {"a": "steady"})
    assert data.load("cifar10").standin
    assert server.left.wait(5)


def test_an_endless_download_is_broken_off(mini, monkeypatch, capfd, server):
    monkeypatch.setattr(data, "LARGEST", 3e6)
    serve(monkeypatch, server, "mnist", {"a": "endless"})
    assert data.load("mnist").standin
    assert "more than 3 MB" in capfd.readouterr().err
    assert server.left.wait(5)


def test_a_long_download_says_how_far_it_is(mini, monkeypatch, capfd, server):
    monkeypatch.setattr(data, "WINDOW", 0.2)
    monkeypatch.setattr(data, "MIN_SPEED", 0)
    serve(monkeypatch, server, "cifar10", {"a": "steady"})
    assert data.load("cifar10").standin  # the server stops before the end
    assert re.search(r"  \d of 2 MB, \d\.\d MB/s", capfd.readouterr().err)


def test_without_a_network_20_seconds_are_the_most_to_wait():
    hosts = {base.split("/")[2] for spec in PUBLISHED.values() for base in spec.mirrors}
    assert len(hosts) * data.WINDOW <= 20


PUBLISHED = data.SPECS


def test_published_mirrors_are_encrypted_and_hashed():
    for spec in PUBLISHED.values():
        assert len(spec.mirrors) == 3
        for base, files in spec.mirrors.items():
            assert re.fullmatch(r"https://[\w.-]+/(.+/)?", base)
            assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in files.values())


def test_content_of_the_right_hash_but_not_the_data_set_is_refused(mini, monkeypatch, capfd, server):
    serve(monkeypatch, server, "cifar10", {"a": "right"})
    monkeypatch.setitem(data.SPECS, "cifar10", dataclasses.replace(data.SPECS["cifar10"], identity="0" * 64))
    assert data.load("cifar10").standin
    assert "is not the official cifar10" in capfd.readouterr().err
    assert not data.cache_folder().exists()


def test_a_damaged_cache_is_fetched_again(mini, monkeypatch, capfd, server):
    serve(monkeypatch, server, "mnist", {"a": "right"})
    write(data.cache_folder(), {"mnist.npz": b"PK rubbish"})
    assert data.load("mnist").source == "download"
    assert "fetching it again" in capfd.readouterr().err
    forget()
    assert data.load("mnist").source == "cache"


def test_a_cache_that_cannot_be_written_costs_a_line_not_the_data(mini, monkeypatch, capfd, tmp_path, server):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    serve(monkeypatch, server, "mnist", {"a": "right"})
    assert data.load("mnist").source == "download"
    assert "mnist: can't be kept in " in capfd.readouterr().err


def test_order_of_sources(mini, monkeypatch, tmp_path, server):
    serve(monkeypatch, server, "mnist", {"a": "right"})
    monkeypatch.setenv("DATA_DIR", str(tmp_path))  # a folder without MNIST: go on
    assert data.load("mnist").source == "download"
    forget()
    assert data.load("mnist").source == "cache"
    forget()
    write(tmp_path / "mnist", FORMS["idx.gz"][1])
    assert data.load("mnist").source == "DATA_DIR"
    monkeypatch.setenv("RECNET_STANDIN", "1")
    assert data.load("mnist").source == "stand-in"
    monkeypatch.delenv("RECNET_STANDIN")
    assert data.load("mnist", standin=True).source == "stand-in"
    assert data.load("mnist").source == "DATA_DIR"


def test_data_dir_must_be_a_folder(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "nowhere", tmp_path / ("long" * 2000)):
        monkeypatch.setenv("DATA_DIR", str(path))
        with pytest.raises(data.DataError, match=f"^DATA_DIR={path} is not a folder: set it to .*, or unset it$"):
            data.load("mnist")


def test_an_unknown_name_lists_the_choices():
    with pytest.raises(ValueError, match="'mnits': choose from mnist, cifar10"):
        data.load("mnits")


# --- the object ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=NAMES)
def standin(request):
    """The full-size stand-in of either data set."""
    return data.load(request.param, standin=True)


def test_stand_in_has_the_shapes_types_and_balance_of_the_real_thing(standin):
    n, m, shape = {"mnist": (60_000, 10_000, (28, 28, 1)), "cifar10": (50_000, 10_000, (32, 32, 3))}[standin.name]
    assert (standin.x_train.shape, standin.y_train.shape) == ((n, *shape), (n,))
    assert (standin.x_test.shape, standin.y_test.shape) == ((m, *shape), (m,))
    assert {getattr(standin, key).dtype for key in KEYS} == {np.dtype(np.uint8)}
    assert set(np.bincount(standin.y_train)) == {n // 10}
    assert set(np.bincount(standin.y_test)) == {m // 10}
    assert (standin.standin, standin.source) == (True, "stand-in")
    assert standin.identity != PUBLISHED[standin.name].identity
    assert len(set(standin.classes)) == 10


def test_stand_in_is_always_the_same(standin):
    np.random.seed(1)  # noqa: NPY002 -- global state must not matter
    data._stand_in.cache_clear()
    again = data.load(standin.name, standin=True)
    assert again is not standin
    assert again.identity == standin.identity


def test_stand_in_can_be_learnt_but_not_by_a_linear_classifier_alone(standin):
    def features(images):  # every other pixel of the scaled image, and a constant
        return np.c_[images[:, ::2, ::2].reshape(len(images), -1) / 255.0, np.ones(len(images))]

    x, y = features(standin.x_train[:6000]), np.eye(10)[standin.y_train[:6000]]
    weights = np.linalg.solve(x.T @ x + 10 * np.eye(x.shape[1]), x.T @ y)
    accuracy = np.mean((features(standin.x_test[:2000]) @ weights).argmax(1) == standin.y_test[:2000])
    assert 0.3 < accuracy < 0.8  # chance is 0.1


def test_arrays_are_read_only_and_shared(standin):
    for key in KEYS:
        with pytest.raises(ValueError, match="read-only"):
            getattr(standin, key)[0] = 0
    assert data.load(standin.name, standin=True) is data.load(standin.name, standin=True)


def test_repr_is_small_and_its_picture_has_words(standin):
    html = standin._repr_html_()
    assert len(html) < 60_000
    assert len(repr(standin)) < 400
    assert re.search(r"alt='a training image of each class: [^']+'", html)
    assert f"<td>{len(standin.y_train) // 10:,}</td><td>1,000</td>" in html
    assert "(stand-in)" in html
    side = standin.x_train.shape[1]
    hostile = dataclasses.replace(standin, classes=("'><b>",) * 10)._repr_html_()
    assert hostile.count("&#x27;&gt;&lt;b&gt;") == 20
    assert "<b>" not in hostile
    picture = Image.open(io.BytesIO(b64decode(re.search(r"base64,([^']+)", html)[1])))
    assert picture.size == (10 * side, side)
    first = standin.x_train[np.argmax(standin.y_train == 0)].squeeze()
    np.testing.assert_array_equal(np.asarray(picture)[:, :side], first)


# --- splits and subsets ----------------------------------------------------------------------------------------------


def test_split_is_stratified_disjoint_and_complete(standin):
    train, validation = standin.split()
    n, size = len(standin.y_train), {"mnist": 1_000, "cifar10": 5_000}[standin.name]
    assert (np.sort(np.r_[train, validation]) == np.arange(n)).all()
    assert set(np.bincount(standin.y_train[validation])) == {size // 10}
    assert all((np.diff(index) > 0).all() for index in (train, validation))


def test_split_and_subsets_are_fixed_for_all_time():
    """If this fails, recorded runs can't be compared with new ones any more: mend the code, not the numbers."""
    labels = np.arange(50_000, dtype=np.uint8) % 10
    dataset = data.Dataset("cifar10", labels, labels, labels[:10_000], labels[:10_000], (), True, "stand-in", "")
    picks = [
        dataset.split()[1],
        dataset.subset(10_000),
        dataset.subset(999, 3, "all"),
        dataset.subset(1_000, of="test"),
    ]
    digests = [hashlib.sha256(index.astype("<i8")).hexdigest()[:12] for index in picks]
    assert digests == ["fe8502dfa671", "bfff4fbafbda", "a7aa31f4e817", "4e85e2542afe"]


@pytest.mark.parametrize("of", ["train", "all", "test"])
def test_subsets_are_stratified_and_differ_by_draw(standin, of):
    labels = standin.y_test if of == "test" else standin.y_train
    first, again, other = standin.subset(1_000, of=of), standin.subset(1_000, 0, of), standin.subset(1_000, 1, of)
    assert (first == again).all()
    assert not np.array_equal(first, other)
    assert (np.diff(first) > 0).all()
    assert set(np.bincount(labels[first])) == {100}


def test_subsets_of_train_have_no_validation_image(standin):
    train, validation = standin.split()
    assert not np.isin(standin.subset(10_000, draw=2), validation).any()
    assert (standin.subset(len(train)) == train).all()


def test_impossible_subsets_are_refused_with_numbers(standin):
    most = len(standin.split()[0])
    with pytest.raises(ValueError, match=f"{most + 1:,} images asked of {standin.name}, 'train': .* 1 to {most:,}"):
        standin.subset(most + 1)
    with pytest.raises(ValueError, match=r"10,001 images asked .* 1 to 10,000"):
        standin.subset(10_001, of="test")
    with pytest.raises(ValueError, match="0 images"):
        standin.subset(0)
    with pytest.raises(ValueError, match="'validation': choose from train, all, test"):
        standin.subset(10, of="validation")


@few
@given(
    counts=st.lists(st.integers(0, 40), min_size=10, max_size=10).filter(any),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_stratified_is_proportional_to_the_last_image(counts, share, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(10), counts))
    n = round(share * len(labels))
    chosen = data._stratified(labels, n, (seed,))
    assert len(chosen) == n
    assert (np.diff(chosen) > 0).all()
    taken = np.bincount(labels[chosen], minlength=10)
    assert (abs(taken - np.array(counts) * n / len(labels)) < 1).all()
    np.testing.assert_array_equal(chosen, data._stratified(labels, n, (seed,)))


# --- augmentation ----------------------------------------------------------------------------------------------------


@few
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.integers(1, 3)),
    pad=st.integers(0, 3),
    flip=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@example(shape=(3, 4, 4, 3), pad=0, flip=False, seed=0)
def test_every_augmented_image_is_a_crop_of_its_padded_self(shape, pad, flip, seed):
    images = np.random.default_rng(seed).integers(1, 256, shape, dtype=np.uint8)
    before = images.copy()
    augmented = data.augment(images, np.random.default_rng(seed), pad, flip)
    assert (augmented.dtype, augmented.shape) == (np.uint8, images.shape)
    np.testing.assert_array_equal(images, before)
    height, width = shape[1:3]
    for image, result in zip(images, augmented, strict=True):
        padded = np.zeros((height + 2 * pad, width + 2 * pad, shape[3]), np.uint8)
        padded[pad : pad + height, pad : pad + width] = image
        offsets = [(y, x) for y in range(2 * pad + 1) for x in range(2 * pad + 1)]
        crops = [padded[y : y + height, x : x + width] for y, x in offsets]
        crops += [crop[:, ::-1] for crop in crops] if flip else []
        assert any(np.array_equal(result, crop) for crop in crops)
    np.testing.assert_array_equal(augmented, data.augment(images, np.random.default_rng(seed), pad, flip))


def test_offsets_are_drawn_for_each_image():
    """On copies of one image whose pixels all differ, every offset occurs, flipped and not, each about as often."""
    images = np.repeat(np.arange(1, 65, dtype=np.uint8).reshape(1, 8, 8, 1), 8_100, axis=0)
    _, counts = np.unique(data.augment(images, np.random.default_rng(0)), axis=0, return_counts=True)
    assert len(counts) == 2 * 9 * 9
    assert 20 < counts.min() <= counts.max() < 90  # 50 expected, standard deviation 7


def test_half_of_the_images_are_flipped():
    images = np.repeat(np.array([[[[1], [2]]]], np.uint8), 2_000, axis=0)
    flipped = data.augment(images, np.random.default_rng(0), pad=0)[:, 0, 0, 0] == 2
    assert 900 < flipped.sum() < 1_100  # standard deviation 22
    assert 900 < (flipped[1:] != flipped[:-1]).sum() < 1_100  # neighbours are independent
    assert (data.augment(images, np.random.default_rng(0), pad=0, flip=False) == images).all()


@few
@given(dy=st.integers(-9, 9), dx=st.integers(-9, 9))
@example(dy=0, dx=0)
@example(dy=2, dx=-1)
def test_shift_moves_and_fills_with_zeros(dy, dx):
    images = np.arange(1, 71, dtype=np.uint8).reshape(2, 5, 7, 1)
    moved = data.shift(images, dy, dx)
    assert (moved.dtype, moved.shape) == (np.uint8, images.shape)
    for y in range(5):
        for x in range(7):
            inside = 0 <= y - dy < 5 and 0 <= x - dx < 7
            np.testing.assert_array_equal(moved[:, y, x], images[:, y - dy, x - dx] if inside else 0)


# --- the real data ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "n", "first"), [("mnist", 60_000, [5, 0, 4, 1, 9, 2, 1, 3]), ("cifar10", 50_000, [6, 9, 9, 4, 1, 1, 2, 7])]
)
def test_real_data_are_the_official_ones_in_their_official_order(real_data, name, n, first):
    dataset = real_data(name)
    assert dataset.identity == PUBLISHED[name].identity
    assert not dataset.standin
    assert (len(dataset.y_train), len(dataset.y_test)) == (n, 10_000)
    assert list(dataset.y_train[:8]) == first


def test_cifar10_is_what_section_4_1_says(real_data):
    dataset = real_data("cifar10")
    assert set(np.bincount(dataset.y_train)) == {5_000}
    assert set(np.bincount(dataset.y_test)) == {1_000}
    for batch in dataset.y_train.reshape(5, 10_000):  # "may contain more images from one class than another"
        assert len(set(np.bincount(batch))) > 1
    assert [dataset.classes[label] for label in (dataset.y_train[0], dataset.y_test[0])] == ["frog", "cat"]


@pytest.mark.parametrize("name", NAMES)
def test_normalisation_constants(real_data, name):
    images = real_data(name).x_train
    values = np.arange(256) / 255
    for channel, (mean, std) in enumerate(zip(*data.MEAN_STD[name], strict=True)):
        share = np.bincount(images[..., channel].ravel(), minlength=256) / images[..., channel].size
        exact = share @ values
        assert (round(exact, 5), round(np.sqrt(share @ (values - exact) ** 2), 5)) == (mean, std)


@pytest.mark.parametrize("name", NAMES)
def test_real_splits_keep_the_class_proportions(real_data, name):
    dataset = real_data(name)
    for index in (*dataset.split(), dataset.subset(10_000), dataset.subset(1_000, 4)):
        share = np.bincount(dataset.y_train[index]) / len(index)
        assert abs(share - np.bincount(dataset.y_train) / len(dataset.y_train)).max() <= 1 / len(index)


# --- the command line ------------------------------------------------------------------------------------------------


def test_main_verifies_what_is_at_hand(mini, monkeypatch, capsys, tmp_path):
    for form in ("idx", "tar"):
        write(tmp_path / "d", FORMS[form][1])
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "d"))
    assert data.main([]) == 0
    told = capsys.readouterr()
    lines = [f"{name}: 50 + 10 images from DATA_DIR, identity {data.SPECS[name].identity[:12]}" for name in NAMES]
    assert (told.out.splitlines(), told.err) == (lines, "")


def test_main_with_stand_ins_fails_and_says_how_to_get_the_real_data(mini, capsys):
    assert data.main([]) == 1
    told = capsys.readouterr()
    assert told.out.count("from stand-in") == 2
    hint = told.err.splitlines()[-1]
    assert all(word in hint for word in ("mnist.npz", "cifar-10-binary.tar.gz", "DATA_DIR"))


def test_main_reports_damage_in_one_line(mini, monkeypatch, capsys, tmp_path):
    write(tmp_path / "d", {"mnist.npz": b"rubbish"})
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "d"))
    assert data.main([]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert re.fullmatch(r".*mnist\.npz can't be read: .*\n", told.err)


def test_main_interrupted(monkeypatch):
    def interrupt(_name):
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "load", interrupt)
    assert data.main([]) == 130


def test_main_refuses_arguments():
    """In a fresh process: exit 2 without a traceback."""
    here = Path(__file__).parents[1]
    run = subprocess.run([sys.executable, "-m", "lib.data", "mnist"], cwd=here, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.endswith("error: unrecognized arguments: mnist\n")


# --- another data set, as the page "Change one thing" adds it ---


def test_a_data_set_of_ones_own_can_be_loaded(monkeypatch, tmp_path):
    page = (Path(data.__file__).parent.parent / "notebooks" / "change_one_thing.md").read_text()
    (block,) = re.findall(r"```python\n# lib/data.py\n(.*?)```", page, re.DOTALL)
    monkeypatch.setattr(data, "SPECS", dict(data.SPECS))
    monkeypatch.setattr(data, "_VALIDATION", dict(data._VALIDATION))
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.delenv("RECNET_STANDIN", raising=False)
    exec(block, vars(data))  # noqa: S102
    rng, spec = np.random.default_rng(0), data.SPECS["fashion"]
    sizes = {"train": spec.n_train, "test": spec.n_test}
    arrays = {f"x_{part}": rng.integers(256, size=(n, 28, 28), dtype=np.uint8) for part, n in sizes.items()}
    arrays |= {f"y_{part}": rng.integers(10, size=n, dtype=np.uint8) for part, n in sizes.items()}
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"of MNIST")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data.from_folder("fashion", tmp_path, "DATA_DIR") is None
    np.savez(tmp_path / "fashion.npz", **arrays)
    with pytest.raises(data.DataError, match=r"its arrays have sha256 [0-9a-f]{64}") as refused:
        data.load("fashion")
    data.SPECS["fashion"] = dataclasses.replace(spec, identity=re.search("[0-9a-f]{64}", str(refused.value)).group())
    dataset = data.load("fashion")
    assert dataset.x_train.shape == (60_000, 28, 28, 1)
    assert [len(part) for part in dataset.split()] == [59_000, 1_000]
