"""Whether kernels can be compiled here: a program that carries its kernels needs neither Numba nor LLVM."""

from __future__ import annotations

import functools
from importlib.util import find_spec

from ..errors import GlmqError

PACKAGES = ("numba", "llvmlite")


@functools.cache
def can_compile() -> bool:
    """Whether the packages that compile are installed."""
    return all(find_spec(package) is not None for package in PACKAGES)


def cannot_compile(lacking: str) -> GlmqError:
    """What is lacking, in a line with what brings it."""
    return GlmqError(
        f"{lacking}, and Numba, which would compile them, is not installed:"
        ' pip install "numba>=0.64", or have `glmq compile` put them into the folder'
    )
