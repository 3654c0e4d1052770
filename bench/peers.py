"""The builds of llama.cpp that glmq is compared with, each in a folder of its own.

python bench/peers.py [PEER …]   makes them (default: all that this machine can run)

llama.cpp-avx2, -avxvnni, -avx512   from the source in llama-cpp-python, for the same instructions as ours;
                                    a compiler and some minutes are needed
xllamacpp                           as pip installs it: no compiler, AVX2
node-llama-cpp                      as npm installs it: no compiler, chooses instructions when it starts
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from glmq_kernels.jit import isa
from glmq_kernels.jit.cache_folder import cache_folder

SOURCE = "llama-cpp-python==0.3.36"
NODE = "node-llama-cpp@3.22.1"

_AVX2 = ("AVX", "AVX2", "FMA", "F16C", "BMI2")
FLAGS = {
    "avx2": {"NATIVE": False} | dict.fromkeys(_AVX2, True),
    "avxvnni": {"NATIVE": False} | dict.fromkeys((*_AVX2, "AVX_VNNI"), True),
    "avx512": {"NATIVE": True},
}
"""Of ggml's build for each level of instructions; NATIVE: all that the processor has, AMX too."""
LEFT_OUT = ("COMMON", "TESTS", "EXAMPLES", "TOOLS", "SERVER")
"""Parts of llama.cpp beside its library."""


@dataclass(frozen=True)
class Peer:
    """One build.

    install: puts it into a folder, or into this Python's packages. libraries: those there, in the order in
    which they are loaded; the last has llama.h's functions. chooses: whether there is a library for each
    level of instructions.
    """

    install: Callable[[Path], None]
    libraries: Callable[[Path], list[Path]]
    chooses: bool = False


def folder_of(name: str) -> Path:
    """Where a peer is."""
    return cache_folder() / "peers" / name


def for_level(level: str) -> str:
    """The name of the peer that is built for a level of instructions."""
    return f"llama.cpp-{'avx512' if level == 'amx' else level}"


def runnable() -> list[str]:
    """The peers that this machine can run."""
    built = [for_level(level) for level in FLAGS if level in isa.levels()]
    return [*built, "xllamacpp", "node-llama-cpp"]


def version(name: str) -> str:
    """What a peer was made from, for a table."""
    return {"xllamacpp": "xllamacpp", "node-llama-cpp": NODE}.get(name, SOURCE)


def libraries(name: str) -> list[Path]:
    """A peer's libraries, in the order in which they are loaded."""
    found = PEERS[name].libraries(folder_of(name))
    if not found:
        raise SystemExit(f"{name} is not installed; run `python bench/peers.py {name}`")
    return found


def _install_from_source(level: str) -> Callable[[Path], None]:
    """Build the library in the source that a Python package brings, for a level, in a folder."""

    def install(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as downloaded:
            _pip("download", "--no-deps", "--no-binary", ":all:", "--dest", downloaded, SOURCE)
            [archive] = Path(downloaded).iterdir()
            shutil.unpack_archive(archive, folder, filter="data")
        [source] = folder.glob("*/vendor/llama.cpp")
        switches = {f"GGML_{name}": on for name, on in FLAGS[level].items()}
        switches |= dict.fromkeys((f"LLAMA_BUILD_{name}" for name in LEFT_OUT), False)
        settings = [f"-D{name}={'ON' if on else 'OFF'}" for name, on in switches.items()]
        build = str(folder / "build")
        subprocess.run(["cmake", "-S", str(source), "-B", build, *settings], check=True)
        jobs = str(os.cpu_count())  # without a number all files at once, more than memory may hold
        subprocess.run(["cmake", "--build", build, "--target", "llama", "--parallel", jobs], check=True)

    return install


def _pip(*arguments: str, **environment: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", *arguments], check=True, env=os.environ | environment)


def _install_by_npm(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", NODE], check=True, cwd=folder)


def _built(folder: Path) -> list[Path]:
    names = ("libggml-base.so", "libggml-cpu.so", "libggml.so", "libllama.so")
    return [path for name in names if (path := folder / "build" / "bin" / name).exists()]


def _of_package(folder: Path) -> list[Path]:
    found = importlib.util.find_spec("xllamacpp")
    return sorted(Path(found.origin).parent.glob("xllamacpp*.so")) if found and found.origin else []


def _of_node(folder: Path) -> list[Path]:
    bins = folder / "node_modules" / "@node-llama-cpp" / "linux-x64" / "bins" / "linux-x64"
    patterns = ("libggml-base.so*", "libggml.*so*", "libllama.*so*")
    return [path for pattern in patterns for path in sorted(bins.glob(pattern))[-1:]]


PEERS = {
    **{
        for_level(level): Peer(
            _install_from_source(level), lambda folder: sorted(folder.glob("**/libllama.so"))[:1]
        )
        for level in FLAGS
    },
    "xllamacpp": Peer(lambda folder: _pip("install", "xllamacpp"), _of_package),
    "node-llama-cpp": Peer(_install_by_npm, _of_node, chooses=True),
}


def main() -> None:
    """Make peers that are not there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("peers", nargs="*", choices=(*PEERS, []), metavar="PEER")
    for name in parser.parse_args().peers or runnable():
        if not PEERS[name].libraries(folder_of(name)):
            PEERS[name].install(folder_of(name))
        print(f"{name}: {folder_of(name)}", flush=True)


if __name__ == "__main__":
    main()
