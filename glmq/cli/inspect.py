"""`glmq inspect`: what a GGUF file holds, as tables or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from glmq_kernels.errors import GlmqError

from .inspect_diff import show_differences
from .model_argument import model_argument
from .options import Status, model_path

if TYPE_CHECKING:
    from ..gguf import GGUFFile

LONGEST_CELL = 80


@dataclass(frozen=True)
class Table:
    """Rows of text cells. `numbers` are the columns to align to the right."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers: frozenset[int] = frozenset()


@click.command(short_help="Show what a GGUF file holds.")
@model_argument(required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with every value in full.")
@click.option("--diff", "earlier", metavar="OTHER", help="Show only where MODEL differs from OTHER.")
@click.option("--values", is_flag=True, help="With --diff, compare the values of all weights too.")
def inspect(model: str, as_json: bool, earlier: str | None = None, values: bool = False) -> None:
    """Show the metadata and the tensors of MODEL, a GGUF file or the name of a demo model.

    `--diff A B` shows what A has (-) and B has instead (+).
    """
    from ..gguf import open_gguf

    if values and earlier is None:
        raise GlmqError("--values compares two files; name the other one with --diff")
    status = Status()
    try:
        path = model_path(model, status)
        if earlier is not None:
            show_differences(model_path(earlier, status), path, values, as_json, status)
            return
    finally:
        status.clear()
    with open_gguf(path) as file:
        if as_json:
            _print_json(file)
        elif sys.stdout.isatty():
            _print_rich(_tables(file))
        else:
            _print_plain(_tables(file))


def _print_json(file: GGUFFile) -> None:
    import json

    from ..models.trunk import prediction_block

    metadata = {key: _json_value(value, file.value_types[key]) for key, value in file.metadata.items()}
    tensors = [
        {
            "name": info.name,
            "type": info.type,
            "shape": info.shape,
            "n_bytes": info.n_bytes,
            "file": info.file_index,
            "offset": info.offset,
        }
        for info in file.tensors.values()
    ]
    report = {
        "files": [str(path) for path in file.paths],
        "version": file.version,
        "n_bytes": file.n_bytes,
        "prediction_block": prediction_block(file),
        "n_parameters": sum(info.n_elements for info in file.tensors.values()),
        "metadata": metadata,
        "metadata_types": dict(file.value_types),
        "tensors": tensors,
    }
    click.echo(json.dumps(report, allow_nan=False))


def _json_value(value: Any, value_type: str) -> Any:
    """A metadata value for JSON: complete; numbers that JSON does not have are null."""
    import math

    import numpy as np

    if isinstance(value, np.ndarray):
        return [_json_value(element, value_type.removeprefix("array of ")) for element in value.tolist()]
    if isinstance(value, float):
        return float(_number_text(value, value_type)) if math.isfinite(value) else None
    return value if isinstance(value, (int, str)) else value.to_list()


def _tables(file: GGUFFile) -> list[Table]:
    from ..models.trunk import holds_trunk, prediction_block

    tensors = file.tensors.values()
    n_parameters = sum(info.n_elements for info in tensors)
    more = len(file.paths) - 1
    summary = [
        ("file", _printable(file.paths[0].name) + (f" and {more} more parts" if more else "")),
        ("format", f"GGUF version {file.version}"),
        ("tensors", f"{len(tensors)}, {_size_text(file.n_bytes)}"),
        ("parameters", f"{n_parameters:,}"),
    ]
    if n_parameters:
        summary.append(("bits per parameter", f"{8 * file.n_bytes / n_parameters:.2f}"))
    block = prediction_block(file)
    if block is not None:
        alone = "" if holds_trunk(file) else ", and no model: it goes with a file of the model itself"
        summary.append(("multi-token prediction", f"a layer, block {block}{alone}"))
    metadata = [
        (_printable(key), file.value_types[key], _value_text(value, file.value_types[key]))
        for key, value in file.metadata.items()
    ]
    types = []
    for name in dict.fromkeys(info.type for info in tensors):
        of_type = [info for info in tensors if info.type == name]
        n_bytes = sum(info.n_bytes for info in of_type)
        types.append((name, str(len(of_type)), _size_text(n_bytes), f"{n_bytes / file.n_bytes:.1%}"))
    rows = [
        (_printable(info.name), info.type, " x ".join(map(str, info.shape)), _size_text(info.n_bytes))
        for info in tensors
    ]
    return [
        Table("Model", ("", ""), summary),
        Table("Metadata", ("key", "type", "value"), metadata),
        Table("Tensor types", ("type", "tensors", "size", "share"), types, frozenset({1, 2, 3})),
        Table("Tensors", ("name", "type", "shape (columns last)", "size"), rows, frozenset({3})),
    ]


def _value_text(value: Any, value_type: str) -> str:
    """A metadata value in one cell: long text and arrays show how they begin."""
    if isinstance(value, str):
        return f"{_start(value)} ({len(value):,} characters)" if len(value) > LONGEST_CELL else _start(value)
    if isinstance(value, (bool, int, float)):
        return _number_text(value, value_type)
    element_type = value_type.removeprefix("array of ")
    cells = [
        repr(element[:LONGEST_CELL])
        if isinstance(element, str)
        else _number_text(element.item(), element_type)
        for element in value[: LONGEST_CELL // 2]
    ]
    return f"{len(value):,}: [{_start(', '.join(cells))}]"


def _start(text: str) -> str:
    return _printable(text[:LONGEST_CELL]) + ("…" if len(text) > LONGEST_CELL else "")


def _number_text(value: float, value_type: str) -> str:
    """The shortest text of a number, which for float32 is not that of the Python float."""
    import numpy as np

    if isinstance(value, bool):
        return str(value).lower()
    return str(np.float32(value)) if value_type == "float32" else str(value)


def _size_text(n_bytes: int) -> str:
    size = float(n_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"


def _printable(text: str) -> str:
    """Text on one line that cannot steer the terminal and that standard output can encode."""
    escaped = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    encoding = sys.stdout.encoding or "utf-8"
    return escaped.encode(encoding, "backslashreplace").decode(encoding)


def _print_plain(tables: Sequence[Table]) -> None:
    for table in tables:
        if not table.rows:
            continue
        header = [table.columns] if any(table.columns) else []
        rows = [*header, *table.rows]
        widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
        click.echo(f"{table.title}:")
        for row in rows:
            cells = [
                cell.rjust(width) if i in table.numbers else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            click.echo("  ".join(cells).rstrip())
        click.echo()


def _print_rich(tables: Sequence[Table]) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console()
    for table in tables:
        if not table.rows:
            continue
        drawn = RichTable(title=table.title, title_justify="left", show_header=any(table.columns))
        for i, column in enumerate(table.columns):
            right = i in table.numbers
            drawn.add_column(column, justify="right" if right else "left", overflow="fold", no_wrap=right)
        for row in table.rows:
            drawn.add_row(*map(Text, row))
        console.print(drawn)
