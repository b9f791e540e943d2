"""The machine that a run is made on: what it can compute in, and what a record says of it."""

import contextlib
import datetime
import os
import platform
import subprocess
from importlib import import_module
from pathlib import Path

PRECISIONS = ("auto", "float32", "bfloat16")
CPUINFO = Path("/proc/cpuinfo")


def real_precision(asked="auto"):
    """The precision a recipe computes in here: bfloat16 only where that is faster, on a GPU or by `fast_bfloat16`.
    Raises ValueError on an unknown word."""
    if asked not in PRECISIONS:
        raise ValueError(f"unknown precision {asked!r}; choose one of {', '.join(PRECISIONS)}")
    if asked != "auto":
        return asked
    return "bfloat16" if gpus() or fast_bfloat16() else "float32"


def fast_bfloat16():
    """Whether the processor computes in bfloat16 faster than in float32: by matrix tiles (AMX), or by AVX-512 on AMD.

    Without either it is imitated (see backend.slow_bfloat16), a little slower than float32. Intel's processors whose
    tiles a virtual machine hides have the AVX-512 instructions too, but at half the speed of float32's (81 against 156
    GFLOP/s in a matrix product of one Emerald Rapids core).
    """
    flags = cpu_info("flags").split()
    return "amx_bf16" in flags or ("avx512_bf16" in flags and cpu_info("vendor_id") == "AuthenticAMD")


def cpu_info(what):
    """A field of the first processor in CPUINFO ("flags", "model name"), or "" where there is none."""
    with contextlib.suppress(OSError):
        for line in CPUINFO.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == what:
                return value.strip()
    return ""


def gpus():
    """The names of the GPUs that Keras' backend can use."""
    import keras

    # all devices, then the GPUs among them: asked for GPUs alone where there is none, JAX raises
    return [device for device in keras.distribution.list_devices() if device.startswith("gpu")]


def kind():
    """What Keras' backend computes on here, "gpu" or "cpu"."""
    return "gpu" if gpus() else "cpu"


def gpu_name():
    """What the first of `gpus` calls itself, e.g. "NVIDIA H100 80GB HBM3"; None where there is none or it has no
    name."""
    import keras

    if not gpus():
        return None
    if keras.backend.backend() == "jax":
        import jax

        return jax.devices()[0].device_kind
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0]).get("device_name")
    return None


def describe(precision):
    """What may differ between two identical runs: where, when, by what commit and versions.

    precision: what the networks computed in, None where there were none; then Keras is not imported.
    """
    device, gpu, backend = "cpu", None, None
    if precision is not None:
        import keras

        device, gpu, backend = next(iter(gpus()), device), gpu_name(), keras.backend.backend()
    libraries = ("numpy", *(("keras", backend) if backend else ()))
    return {
        "device": device,
        "gpu": gpu,
        "cpu": cpu_info("model name") or platform.processor(),
        "backend": backend,
        "precision": precision,
        "threads": threads(),
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        "versions": {name: import_module(name).__version__ for name in libraries},
    }


def threads():
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def commit():
    """The commit of the code, with "-dirty" behind it where files differ; "unknown" outside a checkout.

    What `make publish` writes does not count: else no page that it makes could name a commit."""

    def git(*arguments):
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603

    published = (":(top,exclude)report", ":(top,exclude)README.md")
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        dirty = git("status", "--porcelain", "--untracked-files=no", "--", ":(top)", *published)
        return git("rev-parse", "--short", "HEAD") + "-dirty" * bool(dirty)
    return "unknown"
