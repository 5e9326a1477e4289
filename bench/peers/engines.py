"""Installs llama.cpp from PyPI into a virtual environment of its own in the cache folder.

Two ways, chosen by what the processor can do:

* `prebuilt`: the wheel `xllamacpp`, compiled for AVX2, FMA and F16C. Used where these are the best the processor has.
* `native`: the source package `llama-cpp-python`, compiled here with the compiler's flags for this processor. Used on
  any other processor, so that llama.cpp has AVX-512 or VNNI wherever S3D has them. Needs a C++ compiler; takes minutes.

Versions and checksums are pinned in the requirements files beside this module. Only the standard library is used.
"""

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
BEYOND_AVX2 = {"avx512f", "avx_vnni", "avxvnni", "amx_int8"}
CMAKE_ARGS = [
    "-DGGML_NATIVE=ON",
    "-DLLAVA_BUILD=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_TOOLS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_SERVER=OFF",
]


class PeerError(Exception):
    """Something a person can act on; the message says what."""


def cpu_flags():
    """The instruction set flags that Linux reports for the first processor; empty elsewhere."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                return set(line.split(":", 1)[1].split())
    except OSError:
        pass
    return set()


def cpu_name():
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def best_engine():
    """`prebuilt` when its instruction set is the best of this processor, else `native`."""
    flags = cpu_flags()
    fits = platform.machine() == "x86_64" and {"avx2", "fma", "f16c"} <= flags
    return "prebuilt" if fits and not flags & BEYOND_AVX2 else "native"


def requirements(engine):
    return HERE / f"requirements-{engine}.txt"


def pinned(engine):
    """The first requirement of `engine` as "name==version"."""
    for line in requirements(engine).read_text().splitlines():
        if line and not line.startswith("#"):
            return line.split()[0]
    raise PeerError(f"{requirements(engine)} names no package")


def cache_folder():
    base = os.environ.get("S3D_CACHE")
    if base:
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s3d"


def _pip_install(folder, engine, log):
    command = [str(folder / "bin/python"), "-m", "pip", "install", "--no-input", "-r", str(requirements(engine))]
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1")
    if engine == "native":
        if not (shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")):
            raise PeerError("llama.cpp has to be compiled and there is no C++ compiler; run scripts/setup")
        environment["CMAKE_ARGS"] = " ".join(CMAKE_ARGS)
    with open(log, "wb") as out:
        status = subprocess.run(command, check=False, stdout=out, stderr=subprocess.STDOUT, env=environment).returncode
    if status != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise PeerError(f"pip could not install {pinned(engine)} (exit code {status}); the end of {log}:\n{tail}")


def ensure(engine):
    """Returns the path of a Python that can import `llama_api` with `engine`; installs it first when needed."""
    folder = cache_folder() / "peers" / pinned(engine).replace("==", "-")
    python, done = folder / "bin/python", folder / "installed"
    if done.exists():
        return python
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two callers at once: the second waits, then finds it done
        if done.exists():
            return python
        how = "compiling, which takes minutes," if engine == "native" else "unpacking"
        print(f"peers: {how} {pinned(engine)} into {folder}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        _pip_install(folder, engine, folder.parent / f"{folder.name}.log")
        done.touch()
    return python
