"""Make the model of `glmq chat demo-tools` from the checkpoint of the tiny GLM-4 MoE.

python bench/make_demo_tools.py CHECKPOINT_DIR [OUT.gguf]

Gives the same bytes every time. The checkpoint recommends a temperature of 1, which a model so small does
not bear: the file recommends another.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from glmq_convert.conversion import convert
from glmq_convert.mixes import TypeChoice

from glmq.demo import TOOLS_MODEL

TEMPERATURE = 0.2
NAME = "Tiny-GLM-MoE-23M"


def make(checkpoint: Path, out: Path) -> Path:
    """Convert the checkpoint to Q4_0, all of it, with the name and the temperature above."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / NAME
        folder.mkdir()
        for file in checkpoint.iterdir():
            (folder / file.name).symlink_to(file.resolve())
        settings = json.loads((checkpoint / "generation_config.json").read_text())
        (folder / "generation_config.json").unlink()
        (folder / "generation_config.json").write_text(json.dumps(settings | {"temperature": TEMPERATURE}))
        return convert(folder, out, TypeChoice("q4_0", pure=True, classic=True), force=True)


if __name__ == "__main__":
    print(make(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else TOOLS_MODEL))
