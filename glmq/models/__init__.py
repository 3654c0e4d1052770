"""The architectures: one module each, found by a file's `general.architecture`."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from glmq_kernels.errors import GlmqError
from glmq_kernels.threads.tape import ActivationType

from ..gguf import GGUFFile
from ..program import Program
from ..weights import Weights

ARCHITECTURES = {"deepseek2": "deepseek2", "glm4moe": "glm4_moe", "llama": "llama"}

KNOWN_BUT_UNSUPPORTED = {
    "glm4": "GLM-4 dense",
    "chatglm": "ChatGLM",
    "glm-dsa": "GLM-5",
    "clip": "the image or sound part of a model (mmproj)",
}

OTHER_FILES = {
    "adapter": "an adapter (LoRA) for a model",
    "mmproj": "the image or sound part of a model",
    "vocab": "a vocabulary alone",
    "imatrix": "an importance matrix",
}
"""What files are that hold no model, by `general.type`."""


class Build(Protocol):
    """An architecture's `build`."""

    def __call__(
        self,
        file: GGUFFile,
        weights: Weights,
        max_tokens: int,
        n_threads: int,
        cache_type: str,
        activations: ActivationType,
        prediction: Weights | None = None,
    ) -> Program:
        """The forward pass of a file for batches of up to `max_tokens`.

        prediction: weights of the file with the layer of multi-token prediction, where it is wanted.
        """


def build_function(file: GGUFFile) -> Build:
    """`build` of the file's architecture."""
    kind = file.text("general.type", "model")
    if kind in OTHER_FILES:
        raise GlmqError(
            f"{file.path} is {OTHER_FILES[kind]}, not a model; choose the file of the model itself"
        )
    name = file.text("general.architecture")
    if name not in ARCHITECTURES:
        what = f", {KNOWN_BUT_UNSUPPORTED[name]}" if name in KNOWN_BUT_UNSUPPORTED else ""
        raise GlmqError(
            f"{file.path} has architecture '{name}'{what}, which glmq does not run;"
            f" choose a GLM-4.5, 4.6 or 4.7 ('glm4moe'), a GLM-4.7-Flash ('deepseek2') or a Llama ('llama')"
        )
    build: Build = import_module(f".{ARCHITECTURES[name]}", __name__).build
    return build
