"""Runs of `quantize` in a process of their own, which can be killed while they are at work.

python -m tests.convert.resumed_runs SOURCE OUT TYPE SECONDS   waits so long for each read of the source
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.glmq.test_command_line import ENVIRONMENT, ROOT

PORTION_BYTES = 1 << 14


def start(source: Path, out: Path, type_name: str, seconds: float) -> subprocess.Popen[bytes]:
    """A run that goes on with what an earlier one left."""
    command = [sys.executable, "-m", "tests.convert.resumed_runs", source, out, type_name, seconds]
    return subprocess.Popen([str(each) for each in command], env=ENVIRONMENT, cwd=ROOT)


def main() -> None:
    """Quantize, with notes of how far it is after each portion, nearly."""
    from glmq_convert import gguf_source, portion_work, portions
    from glmq_convert.conversion import quantize
    from glmq_convert.splits import SplitSizes

    from glmq.gguf import open_gguf

    source, out, type_name, seconds = sys.argv[1:]
    portions.PORTION_BYTES = PORTION_BYTES
    portion_work.REPORT_SECONDS = portion_work.RECORD_SECONDS = 0.001
    read = gguf_source.GGUFWeights.read

    def slow(self, *arguments):
        time.sleep(float(seconds))
        return read(self, *arguments)

    gguf_source.GGUFWeights.read = slow
    split = SplitSizes(max_tensors=20) if "parts" in out else None
    with open_gguf(source) as model:
        quantize(model, out, type_name, threads=1, resume=True, split=split)


if __name__ == "__main__":
    main()
