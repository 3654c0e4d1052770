"""The perplexity of files here and in llama.cpp, by the same definition, on the same tokens.

python bench/perplexity.py MODEL... -f TEXT [--mix NAME|all]... [--calibrate TEXT] [--chunks N]

MODEL is a GGUF file, a demo model's name or the folder of a checkpoint. With --mix files of these mixes are
made of it, with an importance matrix of the text --calibrate where one is given, and compared instead.
llama.cpp evaluates each chunk by the functions of its library (the wheel `xllamacpp`); what it gives is
added up in float64. A table goes to standard output, in Markdown, and the largest difference behind it.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from glmq_convert.conversion import convert, quantize
from glmq_convert.importance import Importance
from glmq_convert.mixes.mix_names import MIXES
from llama_cpp_library import LlamaCpp

import glmq
from glmq.gguf import open_gguf
from glmq.importance import make_importance
from glmq.importance.texts import read_text
from glmq.model_file import model_file
from glmq.quality.chunks import Chunks, chunks_of_text
from glmq.quality.perplexity import perplexity

AT_ONCE = 4
"""Chunks that have room in glmq's KV cache."""


def main() -> None:
    """Compare and show."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+")
    parser.add_argument("-f", dest="text", type=Path, required=True)
    parser.add_argument("--mix", action="append", default=[], help="all for all of them; may be repeated")
    parser.add_argument("--calibrate", type=Path)
    parser.add_argument("--chunks", type=int)
    parser.add_argument("--activations", default="auto", help="of glmq")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    mixes = list(MIXES) if "all" in chosen.mix else chosen.mix
    print("| file | chunks | glmq | llama.cpp | difference |\n| --- | --- | --- | --- | --- |")
    differences = {}
    with tempfile.TemporaryDirectory() as folder:
        for model in chosen.models:
            for path in _files(model, mixes, chosen.calibrate, Path(folder)):
                chunks, ours = _here(path, chosen.text, chosen.chunks, chosen.activations, chosen.threads)
                theirs = in_llama_cpp(path, chunks, chosen.threads)
                differences[path.stem] = difference = ours / theirs - 1
                print(
                    f"| {path.stem} | {len(chunks)} | {ours:.4f} | {theirs:.4f} | {difference:+.4%} |",
                    flush=True,
                )
    worst = max(differences, key=lambda name: abs(differences[name]))
    print(f"\nlargest difference: {differences[worst]:+.4%} ({worst})")


def _files(model: str, mixes: list[str], calibration: Path | None, folder: Path) -> Iterator[Path]:
    """The model's file, or one after the other of each mix, of which only the last is kept."""
    name = Path(model).stem
    if Path(model).is_dir():
        original = convert(model, folder / f"{name}-original.gguf", "bf16", force=True)
    else:
        original = model_file(model)
    if not mixes:
        yield original
        return
    importance = _importance(original, calibration, folder)
    with open_gguf(original) as source:
        for mix in mixes:
            made = quantize(source, folder / f"{name}-{mix}.gguf", mix, importance=importance, force=True)
            yield made
            made.unlink()


def _importance(original: Path, calibration: Path | None, folder: Path) -> Importance | None:
    if calibration is None:
        return None
    return make_importance(original, [calibration], folder / f"{original.stem}-imatrix.gguf")


def _here(
    path: Path, text: Path, n_chunks: int | None, activations: str, n_threads: int
) -> tuple[Chunks, float]:
    """The text's chunks and glmq's perplexity."""
    with glmq.load(path, n_ctx=AT_ONCE * 512, activations=activations, n_threads=n_threads) as model:
        given = read_text(text, model)
        chunks = chunks_of_text(model.tokenizer, given.content, max_chunks=n_chunks, special=given.special)
        return chunks, perplexity(model, chunks).value


def in_llama_cpp(path: Path, chunks: Chunks, n_threads: int = 2) -> float:
    """llama.cpp's perplexity: exp of the mean of -ln p of the second half of each chunk, read alone."""
    model = LlamaCpp(path, n_ctx=chunks.n_ctx, n_batch=chunks.n_ctx, n_threads=n_threads)
    total = 0.0
    for i in range(len(chunks)):
        logits = model.evaluate_alone(chunks.read(i), chunks.n_counted).astype(np.float64)
        log_sums = np.logaddexp.reduce(logits, axis=1)
        total += float((log_sums - logits[np.arange(chunks.n_counted), chunks.following(i)]).sum())
    model.close()
    return math.exp(total / (len(chunks) * chunks.n_counted))


if __name__ == "__main__":
    main()
