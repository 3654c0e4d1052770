"""What the tests of sampling and the script that makes their golden file both need."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import numpy as np

from glmq.tokenizer.byte_pairs import byte_characters

from .vocabulary_files import write_byte_pairs

GOLDEN = Path(__file__).parents[1] / "golden" / "sampling.json"
LETTERS = string.ascii_letters + string.digits + string.punctuation
MERGES = ("a b", "ab c", "Ġ x", "x :", "* *", "Ċ Ċ", "e n", "en d", "Ġ <", "Ġ< e", "o :")
TOKENS = (*dict.fromkeys([*LETTERS, *byte_characters(), *(merge.replace(" ", "") for merge in MERGES)]),)
N_WIDE = 151_552


def write_vocabulary(path: Path) -> Path:
    """A byte-level vocabulary of bytes and a few longer tokens, for the breakers of DRY."""
    write_byte_pairs(path, TOKENS, MERGES, special=("<|endoftext|>", "<|user|>"))
    return path


def wide_logits() -> np.ndarray:
    """Logits of GLM's width from exact arithmetic, the same on every machine."""
    i = np.arange(N_WIDE)
    x = (i * 2_654_435_761 % 2**32) / 2**32
    for _ in range(4):
        x *= x
    x *= 10
    x[:80] += 0.25 * (80 - i[:80])
    return x.astype(np.float32)


def load() -> dict[str, Any]:
    """The golden file, its logits as float32 arrays."""
    golden: dict[str, Any] = json.loads(GOLDEN.read_text())
    golden["logits"] = {name: np.array(each, np.float32) for name, each in golden["logits"].items()}
    golden["logits"]["wide"] = wide_logits()
    return golden
