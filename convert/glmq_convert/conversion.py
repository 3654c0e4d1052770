"""Making GGUF files: of a Hugging Face checkpoint, or of another GGUF file."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import Target, check_is_not_read, check_target, is_being_written

from .checkpoint_source import checkpoint_source
from .general import checkpoint_name
from .gguf_source import GGUFModel, GGUFWeights, copied_header, plan_copies
from .gguf_writer import Progress, WriteSettings, write_gguf
from .importance import Importance, read_importance
from .metadata_values import Value, set_metadata
from .mixes import (
    TypeChoice,
    check_not_poor,
    check_writable,
    choose_types,
    untyped_with_importance,
    with_importance,
)
from .model_source import ModelSource, identity_of
from .mtp import MtpChoice
from .plan import PlannedTensor
from .shards import ShardStore
from .splits import SplitSizes
from .target_size import TargetSize, overhead, types_for_size

LOSSLESS = ("F32", "F16", "BF16", "F64", "Q8_0")
"""Types of a source from which others may be made without much loss."""

SMALLEST_BLOCK = 32
"""Weights of a block of the quantized types that have the smallest ones."""


def convert(
    checkpoint_dir: str | Path,
    out_path: str | Path | None = None,
    type: str | TypeChoice = "q8_0",
    mtp: MtpChoice = True,
    progress: Progress | None = None,
    threads: int | None = None,
    remark: Callable[[str], None] | None = None,
    force: bool = False,
    *,
    size: TargetSize | None = None,
    importance: str | Path | Importance | None = None,
    metadata: Mapping[str, Value] | None = None,
    split: SplitSizes | None = None,
    allow_nan: bool = False,
    resume: bool = False,
    store: ShardStore | None = None,
) -> Path:
    """Convert the checkpoint of a Glm4Moe, Glm4MoeLite or Llama in a folder to a GGUF file; gives its path.

    out_path: a file, or a folder to put `<folder's name>-<TYPE>.gguf` into; by default the current one.
    type: the name of a mix (`mixes/mix_names.py`), or a choice of types for all tensors. mtp: keep the
    multi-token-prediction layer where the checkpoint has one, or "alone": write a file of nothing but that,
    called `mtp-…`, which a file without it is used with. progress(bytes written, bytes in all).
    threads: all cores by default. remark: is told, in a sentence, what the user may want to know. force:
    replace a file that is there. size: choose the types that lose least within it, by the errors of each
    tensor's types (`target_size/`); of `type` only what it says of single tensors counts then. importance: a
    matrix, or the file that holds one. metadata: keys to set (`metadata_values.py`). split: write several
    files; the path is that of the first. allow_nan: write 0 for weights that are not finite. resume: go on
    with what a run with the same settings has left, and leave what this one does not finish. store: where the
    weights are, if not in the folder (`shards.py`).
    Raises GlmqError, and leaves no file, when something is wrong with the checkpoint, the place or the disk.
    """
    choice = TypeChoice(type) if isinstance(type, str) else type
    folder = _folder(checkpoint_dir)
    name = f"mtp-{checkpoint_name(folder)}" if mtp == "alone" else checkpoint_name(folder)
    target = _target(out_path, f"{name}-{size.label if size else choice.mix.name}", split, force)
    check_is_not_read(target, [each for each in folder.iterdir() if each.suffix != ".gguf"])
    source = checkpoint_source(folder, mtp, store)
    settings = WriteSettings(split, threads, progress, allow_nan, resume)
    return _make(source, target, choice, size, _importance(importance), metadata, settings, remark)


def quantize(
    model: GGUFModel,
    out_path: str | Path,
    type: str | TypeChoice,
    progress: Progress | None = None,
    threads: int | None = None,
    remark: Callable[[str], None] | None = None,
    force: bool = False,
    *,
    size: TargetSize | None = None,
    importance: str | Path | Importance | None = None,
    metadata: Mapping[str, Value] | None = None,
    split: SplitSizes | None = None,
    keep_split: bool = False,
    allow_nan: bool = False,
    resume: bool = False,
) -> Path:
    """Make another GGUF file of an open one; gives its path.

    out_path: a file, or a folder to put `<model's file>-<TYPE>.gguf` into. keep_split: as many files as the
    model has, with the same tensors. The other arguments, and errors, are those of `convert`.
    """
    choice = TypeChoice(type) if isinstance(type, str) else type
    source = gguf_model_source(model)
    if keep_split and len(model.paths) > 1:
        counts = Counter(tensor.file_index for tensor in model.tensors.values())
        split = SplitSizes(tensors_of_each=tuple(counts[i] for i in range(len(model.paths))))
    target = _target(out_path, f"{source.name}-{size.label if size else choice.mix.name}", split, force)
    check_is_not_read(target, model.paths)
    settings = WriteSettings(split, threads, progress, allow_nan, resume)
    return _make(source, target, choice, size, _importance(importance), metadata, settings, remark)


def checkpoint_types(
    checkpoint_dir: str | Path,
    type: str | TypeChoice = "q8_0",
    mtp: MtpChoice = True,
    importance: str | Path | Importance | None = None,
    size: TargetSize | None = None,
    store: ShardStore | None = None,
) -> list[PlannedTensor]:
    """The tensors that `convert` would write, with their types; nothing is written. Errors as there."""
    choice = TypeChoice(type) if isinstance(type, str) else type
    return planned_types(checkpoint_source(_folder(checkpoint_dir), mtp, store), choice, importance, size)


def planned_types(
    source: ModelSource,
    choice: TypeChoice,
    importance: str | Path | Importance | None = None,
    size: TargetSize | None = None,
) -> list[PlannedTensor]:
    """The tensors that a file would hold, with their types; nothing is written. Errors as for `convert`."""
    matrix = _importance(importance)
    return _typed(source, _sized(source, choice, size, matrix), matrix)[0]


def gguf_model_source(model: GGUFModel) -> ModelSource:
    """An open GGUF model as the source of another file. Raises GlmqError for one that cannot be read."""
    tensors = plan_copies(model)
    return ModelSource(
        name=re.sub(r"(-\d{5}-of-\d{5})?\.gguf$", "", model.path.name),
        tensors=tensors,
        header=copied_header(model),
        weights=lambda chosen: GGUFWeights(model, chosen),
        identity=identity_of(model.paths),
        remarks=_remarks_on_coarse(model, tensors),
    )


def _remarks_on_coarse(model: GGUFModel, tensors: Sequence[PlannedTensor]) -> list[str]:
    coarse = [each for each in tensors if each.type not in LOSSLESS]
    if not coarse:
        return []
    return [
        f"{len(coarse)} tensors of {model.path} are quantized already, such as {coarse[0].name}"
        f" ({coarse[0].type}): a file made of BF16 or F16 weights would be better"
    ]


def _folder(checkpoint_dir: str | Path) -> Path:
    folder = Path(checkpoint_dir)
    if not folder.is_dir():
        raise GlmqError(f"{folder} is not a folder; give the folder that holds config.json and the weights")
    return folder


def _target(out_path: str | Path | None, name: str, split: SplitSizes | None, force: bool) -> Target:
    """Where the file goes, or those whose names are made of its. Raises GlmqError when it cannot go there."""
    path = Path(out_path or ".")
    if path.is_dir():
        path /= f"{name}.gguf"
    target = check_target(path, force=force or split is not None)
    if is_being_written(target):
        raise GlmqError(f"{path} is being written by another process; wait for it, or name another file")
    return replace(target, force=force)


def _importance(given: str | Path | Importance | None) -> Importance | None:
    return read_importance(given) if isinstance(given, (str, Path)) else given


def _sized(
    source: ModelSource,
    choice: TypeChoice,
    size: TargetSize | None,
    importance: Importance | None,
    threads: int | None = None,
) -> TypeChoice:
    """The choice with types for all tensors that lose least within the size, where there is one."""
    if size is None:
        return choice
    tensors = untyped_with_importance(source.tensors, importance)
    as_floats = source.weights([])
    return types_for_size(tensors, as_floats, size, choice, overhead(source.header, tensors), threads)


def _typed(
    source: ModelSource, choice: TypeChoice, importance: Importance | None
) -> tuple[list[PlannedTensor], list[str]]:
    """The tensors with their types and importance, and remarks."""
    chosen = choose_types(source.tensors, choice, importance is not None)
    if importance is None:
        check_not_poor(chosen, choice)
    tensors, remarks = with_importance(chosen, importance)
    check_writable(tensors)
    return tensors, [*remarks, *(importance.remarks() if importance else ())]


def _make(
    source: ModelSource,
    target: Target,
    choice: TypeChoice,
    size: TargetSize | None,
    importance: Importance | None,
    metadata: Mapping[str, Value] | None,
    settings: WriteSettings,
    remark: Callable[[str], None] | None,
) -> Path:
    """Write the source with the types that are chosen; gives the path of the (first) file."""
    choice = _sized(source, choice, size, importance, settings.threads)
    tensors, remarks = _typed(source, choice, importance)
    if size:
        remarks.append(size.told)
    header = source.header
    _tell_of_types(header, choice)
    if importance:
        _tell_of_importance(header, importance)
    set_metadata(header, metadata or {})
    identity = f"{source.identity}\n{_digest(importance)}"
    settings = replace(settings, source_identity=identity, shards=source.shards)
    written = write_gguf(target, header, tensors, source.weights(tensors), settings)
    nan = [f"{n} values of {name} were not finite; 0 is written for them" for name, n in written.not_finite]
    for text in [*source.remarks, *remarks, *_remarks_on_types(tensors), *nan]:
        if remark:
            remark(text)
    return written.paths[0]


def _digest(importance: Importance | None) -> str:
    """What tells an importance matrix from others."""
    digest = hashlib.sha256()
    for name, found in sorted(importance.tensors.items()) if importance else ():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(found.sums).data)
        digest.update(np.ascontiguousarray(found.counts).data)
    return digest.hexdigest()


def _tell_of_types(header: gguf.GGUFWriter, choice: TypeChoice) -> None:
    """Write the keys of the file's types, before the tokenizer's long ones, as llama.cpp has them."""
    [keys] = header.kv_data
    of_tokenizer = {name: keys.pop(name) for name in [*keys] if name.startswith("tokenizer.")}
    header.add_file_type(choice.mix.file_type)
    header.add_quantization_version(gguf.GGML_QUANT_VERSION)
    keys.update(of_tokenizer)


def _tell_of_importance(header: gguf.GGUFWriter, importance: Importance) -> None:
    """Write the keys that llama-quantize writes of an importance matrix."""
    header.add_string("quantize.imatrix.file", importance.file)
    if importance.datasets:
        header.add_string("quantize.imatrix.dataset", importance.datasets[0])
    header.add_uint32("quantize.imatrix.entries_count", importance.n_entries)
    header.add_uint32("quantize.imatrix.chunks_count", importance.n_chunks)


def _remarks_on_types(tensors: Sequence[PlannedTensor]) -> list[str]:
    """What became F16 because its rows do not divide into blocks."""
    other = [t for t in tensors if t.type == "F16" and t.columns % SMALLEST_BLOCK]
    if not other:
        return []
    widths = sorted({t.columns for t in other})
    return [
        f"{len(other)} tensors are F16 because their rows of {', '.join(map(str, widths))} do not divide"
        f" into blocks of {SMALLEST_BLOCK} (the first is {other[0].name})"
    ]
