"""A 64-bit Arm machine to run tests on, emulated by qemu-user, whose files are brought together once:

    root/                      Debian's packages for arm64: Python and what it needs
    root/usr/bin/emulated      what runs that Python under qemu; `sys.executable` there
    root/usr/lib/python3/dist-packages    PyPI's aarch64 wheels of glmq's dependencies

Needs qemu-aarch64 (Debian: qemu-user), apt-get and dpkg-deb, but no rights beyond the user's own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

SOURCES = Path(__file__).parents[2]
COMPILER = Path(__file__).with_name("compile_for_arm.py")
NEEDED = ("qemu-aarch64", "apt-get", "dpkg-deb")
PLATFORMS = ("manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in range(17, 36)))
"""Of wheels that Debian's C library, 2.36 or later, can run."""
TESTING = ("pytest", "pytest-timeout", "hypothesis")

EMULATED = """#!/bin/sh
# Kernels are compiled by this machine where GLMQ_ARM_COMPILER names its Python: that is ten times as fast.
if [ "$2" = glmq_kernels.jit.compile ] && [ -n "$GLMQ_ARM_COMPILER" ]; then
    exec "$GLMQ_ARM_COMPILER" "$GLMQ_ARM_PROGRAM" "$3"
fi
exec qemu-aarch64 -cpu "${{GLMQ_ARM_CPU:-max,pauth-impdef=on}}" -L {root} -0 "$0" {python} "$@"
"""


class Unavailable(Exception):
    """Something that the machine is made of cannot be had here."""


def arm_python() -> Path:
    """The Python of the emulated machine, which is made first if need be. Raises Unavailable."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        raise Unavailable(f"needs {', '.join(missing)} (apt-get install qemu-user)")
    folder = Path(os.environ.get("GLMQ_ARM") or Path.home() / ".cache" / "glmq-arm")
    root = folder / "root"
    emulated = root / "usr" / "bin" / "emulated"
    if not emulated.exists():
        shutil.rmtree(folder, ignore_errors=True)
        try:
            _unpack_debian(folder / "apt", root)
            python = _python_of(root)
            _install_wheels(root, python.name.removeprefix("python"))
        except subprocess.CalledProcessError as error:
            reason = (error.stderr or error.stdout or "").strip().splitlines()[-1:]
            raise Unavailable(f"{error.cmd[0]} failed: {' '.join(reason)}") from None
        emulated.write_text(EMULATED.format(root=root, python=python))
        emulated.chmod(0o755)
    return emulated


def environment(jit: bool = False) -> dict[str, str]:
    """Variables for programs on that machine. jit: kernels are compiled there, not by this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GLMQ_", "PYTHON"))}
    folder = Path(os.environ.get("GLMQ_ARM") or Path.home() / ".cache" / "glmq-arm")
    folders = [SOURCES, SOURCES / "kernels", SOURCES / "convert"]
    return kept | {
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "GLMQ_CACHE": str(folder / ("kernels-made-there" if jit else "kernels")),
        "GLMQ_ARM_COMPILER": "" if jit else sys.executable,
        "GLMQ_ARM_PROGRAM": str(COMPILER),
    }


def _run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _unpack_debian(apt: Path, root: Path) -> None:
    """Unpack Python for arm64, with all that it depends on, of the Debian that this machine has."""
    for name in ("lists/partial", "cache/archives/partial"):
        (apt / name).mkdir(parents=True)
    (apt / "status").touch()
    settings = {
        "APT::Architecture": "arm64", "APT::Architectures::": "arm64", "APT::Install-Recommends": "0",
        "APT::Sandbox::User": "", "Dir::State": apt, "Dir::State::lists": apt / "lists",
        "Dir::State::status": apt / "status", "Dir::Cache": apt / "cache", "Acquire::Languages": "none",
    }  # fmt: skip
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    _run("apt-get", *options, "update")
    _run("apt-get", *options, "install", "--yes", "--download-only", "python3", "libstdc++6")
    for package in sorted((apt / "cache" / "archives").glob("*.deb")):
        _run("dpkg-deb", "--extract", package, root)
    shutil.rmtree(apt)


def _python_of(root: Path) -> Path:
    found = [path for path in (root / "usr" / "bin").iterdir() if re.fullmatch(r"python3\.\d+", path.name)]
    return found[0]


def _install_wheels(root: Path, version: str) -> None:
    wanted = [name for name in requires("glmq") or () if "extra ==" not in name]
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    _run(
        sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:", "--implementation", "cp",
        "--python-version", version, "--target", root / "usr/lib/python3/dist-packages", *platforms,
        *wanted, *TESTING,
    )  # fmt: skip
