"""What a path is when it is not a GGUF file, and what to do about it."""

from __future__ import annotations

import re
from pathlib import Path

# First bytes of files that people hand over by mistake.
KNOWN_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "only a Git LFS pointer to the real file; fetch it with `git lfs pull`"),
    (
        b"PK\x03\x04",
        "a ZIP file or a PyTorch checkpoint, not GGUF; download the model as safetensors or GGUF",
    ),
    (b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it first"),
    (b"lmgg", "a GGML file from before GGUF; download a newer file of this model"),
    (b"fmgg", "a GGMF file from before GGUF; download a newer file of this model"),
    (b"tjgg", "a GGJT file from before GGUF; download a newer file of this model"),
    (b"GGUF"[::-1], "a GGUF file with its bytes reversed; download it again"),
)

PIECE_NAME = re.compile(
    r"(?P<whole>.+\.gguf)(?P<mark>\.part|-part-|-split-|\.)(\d+of\d+|\d{1,3}|[a-z]{1,2})", re.I
)
"""Names that uploaders give to such pieces: model.gguf.part1of2, model.gguf-split-a, model.gguf.001."""


def what_it_is(start: bytes) -> str:
    """Name a file by its first bytes (some hundreds), and say what to do."""
    if not start:
        return "an empty file; download it again"
    for known, meaning in KNOWN_STARTS:
        if start.startswith(known):
            return meaning
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, not a model; the download went wrong, download the file itself"
    if start[8:9] == b"{":
        return "a safetensors file; convert the folder that it is in with `glmq convert`"
    if not any(start):
        return "begins with zeros; the download did not finish, download it again"
    return "not a GGUF file"


def what_joined_is(path: Path) -> str:
    """What to say of a file that is several GGUF files one behind the other."""
    name = re.sub(r"(-\d{5}-of-\d{5})?(\.gguf)?$", "", path.name, flags=re.IGNORECASE)
    return (
        "several GGUF files joined into one, as cat does; parts of a split model are not joined: keep them as"
        f" they were, {name}-00001-of-0000N.gguf and so on, in one folder and name the first,"
        " or make one file of them with llama-gguf-split --merge"
    )


def what_piece_is(path: Path) -> str:
    """What to say of a piece of a file that was cut with no regard to its content; empty for others."""
    found = PIECE_NAME.fullmatch(path.name)
    if not found:
        return ""
    return (
        f"a piece of a GGUF file that was cut into several; join them in their order with"
        f" `cat {found['whole']}{found['mark']}* > {found['whole']}` and name that file"
    )


def what_folder_is(path: Path) -> str:
    """What a folder holds, and which of it to name."""
    names = _names(path)
    models = [name for name in names if name.lower().endswith(".gguf")]
    if models:
        return f"a folder; name the file in it: {_listed(models)}"
    if any(name.endswith(".safetensors") for name in names):
        return f"a folder with a checkpoint, not GGUF; convert it with `glmq convert {path}`"
    return "a folder without GGUF files; name a GGUF file"


def what_is_missing(path: Path) -> str:
    """What to say of a path where nothing is."""
    models = [name for name in _names(path.parent) if name.lower().endswith(".gguf")]
    if models:
        return f"no such file; that folder holds {_listed(models)}"
    return "no such file"


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
