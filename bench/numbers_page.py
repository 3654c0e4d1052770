"""docs/numbers.md: how the scripts that measure write into it."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from glmq_kernels.jit import isa

NUMBERS = Path(__file__).parent.parent / "docs" / "numbers.md"


def machine(level: str | None = None) -> str:
    """The machine in one line; level: of instructions, where it is not the one in use."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        cpu = told.get("model name", cpu)
        if "cpu family" in told:
            cpu += f" (family {told['cpu family']}, model {told['model']}"
            cpu += f", {float(told['cpu MHz']) / 1e3:.1f} GHz)" if "cpu MHz" in told else ")"
    return f"{cpu}, {os.cpu_count()} cores, {level or isa.current().name}, {platform.system()}"


def write_part(section: str, part: str, text: str) -> None:
    """Put a part of a section into the page, in the place of the one of that name or behind the others.

    section: title of the second level, which is there. part: title of the third level.
    """
    page = NUMBERS.read_text()
    [found] = re.finditer(rf"^## {re.escape(section)}\n.*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    parts = re.split(r"^(?=### )", found[0].rstrip() + "\n\n", flags=re.MULTILINE)
    written = f"### {part}\n\n{text.strip()}\n\n"
    titles = [each.splitlines()[0].removeprefix("### ") for each in parts]
    if part in titles[1:]:
        parts[titles.index(part)] = written
    else:
        parts.append(written)
    NUMBERS.write_text(page[: found.start()] + "".join(parts) + page[found.end() :])
