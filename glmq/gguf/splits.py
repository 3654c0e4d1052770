"""Models that `llama-gguf-split` cut into several files: NAME-00001-of-0000N.gguf.

Each part is a GGUF file with tensors of its own. The metadata is in the first part; the keys
`split.no` (from 0), `split.count` and `split.tensors.count` say what belongs together.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from . import fields
from .errors import GGUFError
from .header import Header

PART_NAME = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.gguf)", re.IGNORECASE)


def part_names(path: Path, header: Header) -> list[Path]:
    """The files of the model that `path` is one file of, in order: `[path]` when it is not split.

    Raises GGUFError when the name does not say which part it is.
    """
    count = fields.integer(header.metadata, path, "split.count", 0)
    if count <= 1:
        return [path]
    number = fields.integer(header.metadata, path, "split.no") + 1
    name = PART_NAME.fullmatch(path.name)
    if name is None or (int(name["number"]), int(name["count"])) != (number, count):
        raise GGUFError(
            f"{path}: part {number} of {count} of a split model; give it back its own name,"
            f" which ends in -{number:05}-of-{count:05}.gguf"
        )
    return [
        path.with_name(f"{name['stem']}-{i:05}-of-{count:05}{name['suffix']}") for i in range(1, count + 1)
    ]


def part_paths(path: Path, header: Header) -> list[Path]:
    """The same, all of which are there. Raises GGUFError when some are missing."""
    paths = part_names(path, header)
    if len(paths) == 1:
        return paths
    missing = [part for part in paths if not part.exists()]
    if missing:
        listed = ", ".join(part.name for part in missing[:3])
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise GGUFError(f"{path}: the model has {len(paths)} parts; put {listed}{more} into the same folder")
    return paths


def check_parts(paths: list[Path], headers: list[Header]) -> None:
    """Make sure that the parts, in order, belong together. Raises GGUFError when they do not."""
    count = len(paths)
    for i, (path, header) in enumerate(zip(paths, headers, strict=True)):
        found = fields.integer(header.metadata, path, "split.no")
        of = fields.integer(header.metadata, path, "split.count")
        if (found, of) != (i, count):
            raise GGUFError(
                f"{path}: says it is part {found + 1} of {of}, its name says {i + 1} of {count};"
                " download the parts again"
            )
    held = Counter(name for header in headers for name in header.tensors)
    for name, times in held.most_common(1):
        if times > 1:
            raise GGUFError(f"{paths[0]}: tensor {name!r} is in {times} parts; download the parts again")
    expected = fields.integer(headers[0].metadata, paths[0], "split.tensors.count", len(held))
    if expected != len(held):
        raise GGUFError(
            f"{paths[0]}: the parts hold {len(held)} tensors together, not {expected};"
            " they are of different models, download them again"
        )
