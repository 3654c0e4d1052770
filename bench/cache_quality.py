"""What types of the KV cache, and forms of attention, cost in quality.

python bench/cache_quality.py [--tokens 4096] [demo | FILE.gguf=TEXT.txt ...]

For each model, by default the demo, a table: Kullback-Leibler divergence of the next-token distributions from
those with an F32 cache, whose attention is in float32, over one text; mean, 99th percentile, how often the
likeliest token is the same, and bytes of a token. All else is float32. "Rows" is the form of decoding,
in which the whole text is read then (`deterministic`), "panels" that of prompts, "plain" without the
Hadamard matrices.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import PropertyMock, patch

import numpy as np
from glmq_kernels.ops.attention.cache_layout import CacheShape

import glmq
from glmq.model_file import model_file

LICENCE = Path(__file__).parents[1] / "tests" / "golden" / "licence.txt"
CHUNK = 512


@dataclass(frozen=True)
class Variant:
    """A type of cache with a form of attention; plain: of which of keys and values no product is stored."""

    cache_type: str
    in_rows: bool = False
    plain: Sequence[str] = ()

    @property
    def name(self) -> str:
        """For the table."""
        form = "rows" if self.in_rows else "panels"
        plain = f", plain {' and '.join(self.plain)}" if self.plain else ""
        return f"{self.cache_type}{plain}, {form}"


VARIANTS = (
    Variant("F16", in_rows=True),
    Variant("F16"),
    Variant("Q8_0", in_rows=True),
    Variant("Q8_0"),
    Variant("Q8_0/Q4_0"),
    Variant("Q8_0/Q4_0", plain=("values",)),
    Variant("Q4_0/Q8_0"),
    Variant("Q4_0/Q8_0", plain=("keys",)),
    Variant("Q4_0", in_rows=True),
    Variant("Q4_0"),
    Variant("Q4_0", plain=("keys", "values")),
)


def log_probabilities(
    path: Path, variant: Variant, tokens: Sequence[int]
) -> Iterator[tuple[CacheShape, np.ndarray]]:
    """Of the next token after each, float64 (n, n_vocab), by chunks, each with the cache's shape."""
    with ExitStack() as stack:
        for part in variant.plain:
            name = {"keys": "key_block", "values": "value_block"}[part]
            stack.enter_context(patch.object(CacheShape, name, PropertyMock(return_value=0)))
        model = stack.enter_context(
            glmq.load(
                path, n_ctx=len(tokens), cache_type=variant.cache_type, activations="f32",
                deterministic=variant.in_rows,
            )
        )  # fmt: skip
        session = model.session()
        for first in range(0, len(tokens), CHUNK):
            logits = session.evaluate_all(tokens[first : first + CHUNK]).astype(np.float64)
            logits -= logits.max(axis=1, keepdims=True)
            yield session.sequence.shape, logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def table(path: Path, text: str, n_tokens: int) -> Iterator[str]:
    """The lines of a model's table."""
    with glmq.load(path) as model:
        tokens = model.tokenize(text, special=False)[:n_tokens]
    exact = [part.astype(np.float32) for _, part in log_probabilities(path, Variant("F32"), tokens)]
    heads = ("cache", "mean KL", "its 99%", "same top-1", "bytes of a token")
    yield f"{path.name}, {len(tokens)} tokens"
    yield ""
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join(['---'] * len(heads))} |"
    for variant in VARIANTS:
        divergences, same, n_bytes = [], [], 0
        for base, (shape, other) in zip(exact, log_probabilities(path, variant, tokens), strict=True):
            divergences.append((np.exp(base.astype(np.float64)) * (base - other)).sum(axis=1))
            n_bytes = shape.position_bytes
            same.append(base.argmax(axis=1) == other.argmax(axis=1))
        found = np.concatenate(divergences)
        yield (
            f"| {variant.name} | {found.mean():.1e} | {np.quantile(found, 0.99):.1e} |"
            f" {np.concatenate(same).mean():.1%} | {n_bytes:,} |"
        )
    yield ""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=["demo"])
    parser.add_argument("--tokens", type=int, default=4096)
    options = parser.parse_args()
    for given in options.models:
        name, _, text = given.partition("=")
        path = model_file(name)
        for line in table(path, (Path(text) if text else LICENCE).read_text(), options.tokens):
            print(line, flush=True)


if __name__ == "__main__":
    main()
