"""Damage a model file at random, many times over: load it, run it, chat with it.

Runs as a process of its own (see test_damaged_models.py), because what must not happen is that it dies.

python -m tests.glmq.run_damaged MODEL FOLDER N
"""

from __future__ import annotations

import faulthandler
import random
import sys
import time
from pathlib import Path

import numpy as np
from glmq_kernels.errors import GlmqError

import glmq

from .test_gguf_damage import DAMAGES

MOST_SECONDS = 20


def use(path: Path) -> None:
    """Everything that a model does, shortly."""
    with glmq.load(path, n_ctx=64, n_threads=2) as model:
        model.logits([1, 2, 3, 300 % model.n_vocab])
        generation = model.chat([{"role": "user", "content": "Hi"}], max_tokens=3)
        generation.run()


def main() -> None:
    """Print how many files were refused and how many ran; end with an error for anything else."""
    faulthandler.enable()
    model, folder, n = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    content = model.read_bytes()
    header_size = content.index(b"output.weight") + 64
    path = folder / "damaged.gguf"
    refused = 0
    np.seterr(all="ignore")
    for seed in range(n):
        chance = random.Random(seed)
        n_header = header_size if chance.random() < 0.9 else len(content)
        header, rest = bytearray(content[:n_header]), content[n_header:]
        chance.choice(DAMAGES)(header, chance)
        path.write_bytes(header + rest)
        began = time.perf_counter()
        try:
            use(path)
        except GlmqError as error:
            refused += 1
            lines = str(error).count("\n") + 1
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
        else:
            lines = 0
        assert lines <= 1, f"seed {seed}: a refusal of {lines} lines"
        assert time.perf_counter() - began < MOST_SECONDS, f"seed {seed} took too long"
    print(refused, n - refused)


if __name__ == "__main__":
    main()
