"""What rounding activations to 8 bits costs small models, and what float32 activations cost in speed.

python bench/activations.py [FILE.gguf=TEXT.txt ...]

For each model, by default both demo models, a table row: Kullback-Leibler divergence of the next-token
distributions with int8 activations from those with float32, how often the likeliest token is the same,
perplexity with both, and tokens per second of one thread
with both (a prompt of 512, decoding 32).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

import glmq
from glmq.model_file import model_file

ROOT = Path(__file__).parents[1]
WINDOW, WINDOWS, N_DECODED = 512, 6, 32


def log_probabilities(path: Path, activations: str, windows: list[list[int]]) -> list[np.ndarray]:
    """Of the next token after each token of each window, float64 (n, n_vocab)."""
    found = []
    with glmq.load(path, n_ctx=WINDOW, activations=activations) as model:
        for window in windows:
            logits = model.logits(window).astype(np.float64)
            logits -= logits.max(axis=1, keepdims=True)
            found.append(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
    return found


def speeds(path: Path, prompt: list[int]) -> dict[str, tuple[float, float]]:
    """Tokens of a prompt, and of decoding 32, per second of one thread's own time; the best of five turns."""
    best = {"f32": (0.0, 0.0), "int8": (0.0, 0.0)}
    with (
        glmq.load(path, n_threads=1, activations="f32") as exact,
        glmq.load(path, n_threads=1, activations="int8") as rounded,
    ):
        for model in (exact, rounded) * 5:
            session = model.session()
            began = time.thread_time()
            session.evaluate(prompt)
            read = time.thread_time()
            for token in prompt[:N_DECODED]:
                session.evaluate([token])
            decoded = time.thread_time()
            before = best[model.activations]
            best[model.activations] = (
                max(before[0], len(prompt) / (read - began)),
                max(before[1], N_DECODED / (decoded - read)),
            )
    return best


def row(name: str, path: Path, text: str) -> str:
    """A model's row of the table."""
    with glmq.load(path, n_ctx=WINDOW) as model:
        tokens = model.tokenize(text, special=False)
    windows = [tokens[i : i + WINDOW] for i in range(0, min(len(tokens), WINDOW * WINDOWS), WINDOW)]
    of = {kind: log_probabilities(path, kind, windows) for kind in ("f32", "int8")}
    exact, rounded = np.concatenate(of["f32"]), np.concatenate(of["int8"])
    divergence = (np.exp(exact) * (exact - rounded)).sum(axis=1)
    same = (exact.argmax(axis=1) == rounded.argmax(axis=1)).mean()
    perplexity = {}
    for kind, parts in of.items():
        losses = [
            -part[np.arange(len(window) - 1), window[1:]] for part, window in zip(parts, windows, strict=True)
        ]
        perplexity[kind] = np.exp(np.concatenate(losses).mean())
    found = speeds(path, windows[0])
    ratios = [f"{slow:.0f} / {fast:.0f}" for slow, fast in zip(found["f32"], found["int8"], strict=True)]
    return (
        f"| {name} | {divergence.mean():.4f} | {np.quantile(divergence, 0.99):.3f} | {same:.1%} |"
        f" {perplexity['f32']:.2f} | {perplexity['int8']:.2f} | {' | '.join(ratios)} |"
    )


def main() -> None:
    """Print the table."""
    licence = (ROOT / "tests" / "golden" / "licence.txt").read_text()
    models = {name: (model_file(name), licence) for name in ("demo", "demo-tools")}
    for given in sys.argv[1:]:
        path, text = map(Path, given.split("="))
        models[path.name] = path, text.read_text()
    heads = ("model", "mean KL", "its 99%", "same top-1", "perplexity f32", "int8")
    print(f"| {' | '.join((*heads, 'prompt f32 / int8', 'decode f32 / int8'))} |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, (path, text) in models.items():
        print(row(name, path, text), flush=True)


if __name__ == "__main__":
    main()
