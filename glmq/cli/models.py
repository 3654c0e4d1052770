"""`glmq models`: what of the Hub is on this machine."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import click

from .terminal import note

if TYPE_CHECKING:
    from ..hub.cached_models import Cached

UNITS = (("year", 31_557_600), ("month", 2_629_800), ("day", 86_400), ("hour", 3600), ("minute", 60))
HEADERS = ("name", "type", "architecture", "size", "last used")


@click.command(short_help="List the models that were downloaded.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list, with the files of each.")
def models(as_json: bool) -> None:
    """List what is in the cache of the Hub, which other programs share.

    These are models, by the names that commands take, checkpoints, and what has come of unfinished downloads.
    """
    from ..hub.cache import hub_cache
    from ..hub.cached_models import cached_models

    found = cached_models()
    if as_json:
        json.dump([_as_dict(each) for each in found], sys.stdout, indent=2)
        click.echo()
        return
    if not found:
        note(f"There is nothing in {hub_cache()}; glmq pull downloads models.")
        return
    rows = [HEADERS, *(_cells(each) for each in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    blobs = {path.resolve(): path.stat().st_size for each in found for path in each.paths}
    note(f"{sum(blobs.values()) / 1e9:.1f} GB in {hub_cache()}")


def _cells(each: Cached) -> tuple[str, ...]:
    from ..hub.model_choice import gigabytes

    missing = f", {each.n_missing} parts missing" if each.n_missing else ""
    return (each.name, each.kind + missing, each.architecture, gigabytes(each.n_bytes), ago(each.last_used))


def ago(seconds: float) -> str:
    """A time by how long ago it was, such as "3 days ago"."""
    passed = max(0.0, time.time() - seconds)
    for unit, length in UNITS:
        if passed >= length:
            n = int(passed // length)
            return f"{n} {unit}{'s' * (n > 1)} ago"
    return "just now"


def _as_dict(each: Cached) -> dict[str, object]:
    return {
        "name": each.name,
        "type": each.kind,
        "architecture": each.architecture,
        "n_bytes": each.n_bytes,
        "n_parts_missing": each.n_missing,
        "last_used": datetime.fromtimestamp(each.last_used, timezone.utc).isoformat(timespec="seconds"),
        "files": [str(path) for path in each.paths],
    }
