"""A Hugging Face checkpoint to a GGUF file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gguf
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import Target, check_target, is_being_written

from . import glm4_moe, glm4_moe_lite, llama
from .checkpoint import open_checkpoint
from .config import Glm4MoeConfig, read_config
from .general import add_general, checkpoint_name
from .gguf_writer import Progress, write_gguf
from .interleaved_rows import CheckpointWithInterleavedRows
from .lite_config import Glm4MoeLiteConfig
from .llama_config import LlamaConfig
from .mixes import TypeChoice, check_writable, choose_types
from .mtp import count_to_convert
from .plan import PlannedTensor, Weights
from .quantization import read_quantization
from .scaled_weights import ScaledWeights, scaled_weights
from .tokenizer import add_tokenizer
from .turned_keys import CheckpointWithTurnedKeys


def convert(
    checkpoint_dir: str | Path,
    out_path: str | Path | None = None,
    type: str | TypeChoice = "q8_0",
    mtp: bool = True,
    progress: Progress | None = None,
    threads: int | None = None,
    remark: Callable[[str], None] | None = None,
    force: bool = False,
) -> Path:
    """Convert the checkpoint of a Glm4Moe, Glm4MoeLite or Llama in a folder to a GGUF file; gives its path.

    out_path: a file, or a folder to put `<folder's name>-<TYPE>.gguf` into; by default the current one.
    type: the name of a mix (`mixes/mix_names.py`), or a choice of types for all tensors. mtp: keep the
    multi-token-prediction layer where the checkpoint has one. progress(bytes written, bytes in all).
    threads: all cores by default. remark: is told, in a sentence, what the user may want to know. force:
    replace a file that is there.
    Raises GlmqError, and leaves no file, when something is wrong with the checkpoint, the place or the disk.
    """
    choice = TypeChoice(type) if isinstance(type, str) else type
    folder = Path(checkpoint_dir)
    if not folder.is_dir():
        raise GlmqError(f"{folder} is not a folder; give the folder that holds config.json and the weights")
    target = _target(folder, out_path, choice.mix.name, force)
    config = read_config(folder)
    stored = open_checkpoint(folder, config.num_hidden_layers, mtp)
    checkpoint, remarks = scaled_weights(stored, read_quantization(folder), config.num_hidden_layers, mtp)
    n_mtp_layers = count_to_convert(config, checkpoint) if mtp else 0
    described = _describe(config, checkpoint, n_mtp_layers)
    tensors = choose_types(described.tensors, choice, has_importance=False)
    check_writable(tensors)
    header = gguf.GGUFWriter(None, described.architecture)
    remarks += add_general(header, folder, tensors)
    described.add_metadata(header)
    header.add_file_type(choice.mix.file_type)
    header.add_quantization_version(gguf.GGML_QUANT_VERSION)
    remarks += add_tokenizer(header, folder, config.vocab_size)
    write_gguf(target, header, tensors, described.weights, threads=threads, progress=progress)
    for text in [*remarks, *_remarks_on_types(tensors, choice.mix.base)]:
        if remark:
            remark(text)
    return target.path


@dataclass(frozen=True)
class _Described:
    """A model in GGUF terms. weights: what the tensors are read from."""

    architecture: str
    weights: Weights
    tensors: list[PlannedTensor]
    add_metadata: Callable[[gguf.GGUFWriter], None]


def _describe(
    config: Glm4MoeConfig | Glm4MoeLiteConfig | LlamaConfig, checkpoint: ScaledWeights, n_mtp_layers: int
) -> _Described:
    weights: Weights
    if isinstance(config, LlamaConfig):
        weights = CheckpointWithInterleavedRows(checkpoint, config)
        tensors = llama.plan_tensors(config, weights, checkpoint)
        return _Described(llama.ARCHITECTURE, weights, tensors, partial(llama.add_metadata, config=config))
    if isinstance(config, Glm4MoeLiteConfig):
        weights = CheckpointWithTurnedKeys(checkpoint, config)
        tensors = glm4_moe_lite.plan_tensors(config, weights, checkpoint, n_mtp_layers)
        add = partial(glm4_moe_lite.add_metadata, config=config, n_mtp_layers=n_mtp_layers)
        return _Described(glm4_moe_lite.ARCHITECTURE, weights, tensors, add)
    tensors = glm4_moe.plan_tensors(config, checkpoint, checkpoint, n_mtp_layers)
    add = partial(glm4_moe.add_metadata, config=config, n_mtp_layers=n_mtp_layers)
    return _Described(glm4_moe.ARCHITECTURE, checkpoint, tensors, add)


def _target(folder: Path, out_path: str | Path | None, mix: str, force: bool) -> Target:
    """Where the file goes. Raises GlmqError when it cannot go there."""
    path = Path(out_path or ".")
    if path.is_dir():
        path /= f"{checkpoint_name(folder)}-{mix}.gguf"
    target = check_target(path, force=force)
    if target.before and target.file.parent == folder.resolve() and target.file.suffix != ".gguf":
        raise GlmqError(f"{path} is a file of the checkpoint; name another one for the result")
    if is_being_written(target):
        raise GlmqError(f"{path} is being written by another process; wait for it, or name another file")
    return target


def _remarks_on_types(tensors: list[PlannedTensor], type_name: str) -> list[str]:
    """What became F16 because its rows do not divide into blocks."""
    other = [t for t in tensors if t.type == "F16" and type_name != "F16"]
    if not other:
        return []
    widths = sorted({t.columns for t in other})
    return [
        f"{len(other)} tensors are F16 because their rows of {', '.join(map(str, widths))} do not divide"
        f" into {type_name} blocks (the first is {other[0].name})"
    ]
