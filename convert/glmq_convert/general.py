"""`general.*` metadata: the model's name, licence and origin, and what its makers recommend for sampling."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf

from .json_fields import errors_in, number, read_object, whole
from .plan import PlannedTensor

SAMPLING_NUMBERS = {
    "top_p": "top_p", "min_p": "min_p", "temperature": "temp", "repetition_penalty": "penalty_repeat",
    "xtc_probability": "xtc_probability", "xtc_threshold": "xtc_threshold",
}  # fmt: skip
"""Fields of generation_config.json, and what `general.sampling` calls them."""


def add_general(header: gguf.GGUFWriter, folder: Path, tensors: list[PlannedTensor]) -> list[str]:
    """Write the facts about the model that its files tell; gives remarks for the user."""
    header.add_type(gguf.GGUFType.MODEL)
    total, shared, experts, n_experts = _parameters(tensors)
    metadata, remarks = _of_model_card(folder, total)
    if metadata.name is None:
        metadata.name = checkpoint_name(folder)
    if metadata.size_label is None:
        metadata.size_label = gguf.size_label(total, shared, experts, n_experts)
    for name, value in _sampling(folder):
        setattr(metadata, f"sampling_{name}", value)
    metadata.set_gguf_meta_model(header)
    return remarks


def checkpoint_name(folder: Path) -> str:
    """The model's name by its folder; for a folder of the Hugging Face cache, the repository's."""
    folder = folder.resolve()
    if folder.parent.name == "snapshots":
        return folder.parent.parent.name.split("--")[-1]
    return folder.name.encode("utf-8", "replace").decode() or "model"


def _of_model_card(folder: Path, total: int) -> tuple[gguf.Metadata, list[str]]:
    """What README.md and the folder's name say; without README.md where it cannot be understood."""
    config, name = read_object(folder / "config.json"), Path(checkpoint_name(folder))

    def understood(card: dict[str, Any], origin: dict[str, Any]) -> gguf.Metadata:
        metadata = gguf.Metadata.apply_metadata_heuristic(gguf.Metadata(), card, origin, name, total)
        scratch = gguf.GGUFWriter(None, "")
        dataclasses.replace(metadata, name=metadata.name or "").set_gguf_meta_model(scratch)
        _check_values(scratch)
        return metadata

    try:
        with _quiet_gguf():
            return understood(gguf.Metadata.load_model_card(folder), config), []
    # A card is written by hand, and the gguf package takes any field to have its right type. Whatever it
    # stumbles on costs the card's facts and not the conversion.
    except Exception:
        return understood({}, {}), ["the model card (README.md) cannot be read: what it says is left out"]


def _check_values(writer: gguf.GGUFWriter) -> None:
    """Raise an error for a value that could not be written."""
    wanted = {gguf.GGUFValueType.STRING: str, gguf.GGUFValueType.UINT32: int, gguf.GGUFValueType.ARRAY: list}
    for value in writer.kv_data[0].values():
        entries = value.value if value.type == gguf.GGUFValueType.ARRAY else [value.value]
        kind = wanted.get(value.sub_type or value.type, str)
        for entry in entries:
            if not isinstance(entry, kind):
                raise TypeError(entry)
            if isinstance(entry, str):
                entry.encode()


def _sampling(folder: Path) -> Iterator[tuple[str, int | float]]:
    """Names under `general.sampling` and values that generation_config.json recommends."""
    path = folder / "generation_config.json"
    content: Mapping[str, Any] = read_object(path) if path.is_file() else {}
    with errors_in(path):
        if content.get("top_k") is not None:
            yield "top_k", whole(content, "top_k", 0, least=0)
        for key, name in SAMPLING_NUMBERS.items():
            if content.get(key) is not None:
                yield name, number(content, key, 0.0)


def _parameters(tensors: list[PlannedTensor]) -> tuple[int, int, int, int]:
    """Weights in all, outside the experts, of one expert of every layer, and the number of experts."""
    total = shared = experts = n_experts = 0
    for tensor in tensors:
        size = 1
        for n in tensor.shape:
            size *= n
        total += size
        if "_exps." in tensor.name:
            n_experts = tensor.shape[0]
            experts += size // n_experts
        else:
            shared += size
    return total, shared, experts, n_experts


@contextmanager
def _quiet_gguf() -> Iterator[None]:
    """Without the gguf package's remarks on what it finds in model cards."""
    loggers = [logging.getLogger(name) for name in ("gguf", "metadata")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
