"""What each dependency of glmq costs on the disk: its own files, and those of packages that only it needs.

python bench/install_size.py      in an environment in which glmq is installed; MB as `du` counts them
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

BLOCK = 4096
PARTS = {
    "compiling kernels": ("numba", "llvmlite"),
    "numbers": ("numpy",),
    "text to tokens": ("tokenizers",),
    "tokens of SentencePiece models": ("sentencepiece",),
    "chat templates": ("jinja2",),
    "the terminal": ("click", "markdown-it-py", "prompt-toolkit", "rich"),
    "answers held to grammars": ("llguidance",),
    "tools": ("docstring-parser", "jsonschema", "pydantic", "referencing"),
    "MCP servers": ("mcp",),
    "making GGUF files, and tables for compiling": ("gguf",),
    "session files": ("xxhash",),
}
"""glmq's dependencies by what they are for."""


def name_of(text: str) -> str:
    """A distribution's name in its normal form."""
    return re.sub(r"[-_.]+", "-", text).lower()


def n_bytes(package: Distribution) -> int:
    """Of a distribution's files, in whole blocks of the disk, with compiled Python and its libraries."""
    paths = {Path(str(file.locate())) for file in package.files or ()}
    return sum(-(-path.stat().st_size // BLOCK) * BLOCK for path in paths if path.is_file())


def needed_by(names: Iterable[str]) -> set[str]:
    """Distributions that are installed for others, and these."""
    found: set[str] = set()
    waiting = [(name_of(name), "") for name in names]
    seen = set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        found.add(name)
        for text in package.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(name_of(requirement.name), each) for each in ("", *requirement.extras)]
    return found


def main() -> None:
    """Print what leaving out each part would save, the most first."""
    sizes = {name_of(package.metadata["Name"]): n_bytes(package) for package in distributions()}
    requirements = map(Requirement, distribution("glmq").requires or ())
    direct = {name_of(each.name) for each in requirements if each.marker is None}
    everything = needed_by(direct)
    rows = []
    for part, names in (PARTS | {"the rest": tuple(direct.difference(*PARTS.values()))}).items():
        alone = everything - needed_by(direct.difference(names))
        rows.append((sum(sizes[each] for each in alone), part, alone))
    print("| part | MB | packages that only it needs, with MB |\n| --- | ---: | --- |")
    for _, part, alone in sorted(rows, reverse=True):
        if alone:
            print(f"| {part} | {megabytes(sizes, alone)} | {told(sizes, alone)} |")
    shared = everything.difference(*(alone for _, _, alone in rows))
    print(f"| needed by several | {megabytes(sizes, shared)} | {told(sizes, shared)} |")
    print(f"| glmq | {megabytes(sizes, ['glmq'])} | itself |")
    print(f"| all | {megabytes(sizes, [*everything, 'glmq'])} | {len(everything) + 1} packages |")


def told(sizes: Mapping[str, int], names: Iterable[str]) -> str:
    """Distributions with their sizes, the largest first."""
    largest_first = sorted(names, key=lambda name: -sizes[name])
    return ", ".join(f"{name} {sizes[name] / 1e6:.1f}" for name in largest_first)


def megabytes(sizes: Mapping[str, int], names: Iterable[str]) -> str:
    """The size of several distributions."""
    return f"{sum(sizes[name] for name in names) / 1e6:.1f}"


if __name__ == "__main__":
    main()
