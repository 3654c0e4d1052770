"""The demo models by name: `demo` is downloaded and built once, `demo-tools` comes with the program.

`demo` (smollm2.py) writes English. `demo-tools` is `tiny-glm-moe-Q4_0.gguf`, a toy of 23 million parameters
that was trained for an hour to write GLM-4.7's thinking and tool calls, with the tools of `tools.py`; its
weights are free to use.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from glmq_kernels.jit.compilation import Progress

from . import smollm2

FOLDER = Path(__file__).parent
TOOLS_MODEL = FOLDER / "tiny-glm-moe-Q4_0.gguf"
"""Made by bench/make_demo_tools.py."""


@dataclass(frozen=True)
class Demo:
    """A model that has a name.

    description: what it is. banner: what a user should know before the first question. path(progress):
    where its file is, made first if need be. tools: a file of tools that go with it.
    """

    description: str
    banner: str
    path: Callable[[Progress | None], Path]
    tools: Path | None = None


DEMOS = {
    "demo": Demo(
        smollm2.DESCRIPTION,
        "A very small model: it writes English, but much of what it says is wrong.",
        smollm2.demo_model_path,
    ),
    "demo-tools": Demo(
        "A toy with GLM-4.7's thinking and tool calls: a GLM-4 mixture of experts of 23 million parameters,"
        " trained for less than an hour.",
        'A toy for trying thinking and tools: "How is the weather in Oslo?", "Roll a die with 6 sides.",'
        ' "What is 12 + 30?". Its answers are often wrong, and its tools make up what they tell.',
        lambda progress: TOOLS_MODEL,
        FOLDER / "tools.py",
    ),
}


def named_demo(name: str | os.PathLike[str]) -> Demo | None:
    """The demo model that a name stands for; a file of that name comes before it."""
    demo = DEMOS.get(os.fspath(name))
    return None if demo is None or Path(name).exists() else demo
