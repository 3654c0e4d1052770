"""A session file that nearly fills a context of 131,072 tokens: restored, filled up, compared with float64.

python bench/long_session.py [--tokens 131072] [--read 4096] [--prompt 512] [--decode 16] [--session FILE]

Three layers of GLM-4.5-Air's shape, Q4_0, with a Q8_0 cache; queries are longer than those of random weights,
so that few positions have most of a head's attention and each page matters. The first tokens of the session
are evaluated, then pages are filled with random keys and values of the same size. Then the file is restored,
once with each form of activations: a prompt goes behind it, and single tokens to the last position. What a
run gives for some of them is computed once more by NumPy behind the run's own cache, whole, and with a page
or a position left out, which tells what a fault would be seen by.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from glmq_kernels.jit.cache_folder import cache_folder
from glmq_kernels.ops.attention.cache_layout import POSITIONS_PER_PAGE
from session_file import forget, read_plainly, tell, timed
from synthetic import write_air

import glmq
from glmq.errors import ContextFull
from glmq.model import Model
from glmq.session import Session
from tests.glmq.behind_cache import BehindCache, Row, fill_page

QUERY_SCALE = 1.8
"""Scores then have a deviation of about 3."""


def model_of(path: Path, n_ctx: int, activations: str) -> Model:
    """The model with the options that all of this has."""
    return glmq.load(path, n_ctx=n_ctx, cache_type="Q8_0", activations=activations, draft="off")


def write_session(path: Path, saved: Path, tokens: list[int], n_read: int) -> None:
    """A session file of tokens; the first are evaluated, keys and values of the others are filled."""
    with model_of(path, len(tokens) + POSITIONS_PER_PAGE, "auto") as model:
        session = model.session()
        tell(f"evaluate the first {n_read}", timed(lambda: session.evaluate(tokens[:n_read]))[1])
        sequence = session.sequence
        n_layers, shape = sequence.shape.n_layers, sequence.shape
        cache = BehindCache(model.file, shape, [page.bytes for page in sequence.pages])
        sizes = [tuple(float(each.std()) for each in cache.kept(layer, 0)) for layer in range(n_layers)]
        print("deviation of their keys and values:", ", ".join(f"{k:.2f} {v:.2f}" for k, v in sizes))
        sequence.reserve(len(tokens) - n_read)
        rng = np.random.default_rng(0)
        for page in sequence.pages[n_read // POSITIONS_PER_PAGE :]:
            fill_page(page.bytes, shape, sizes, rng)  # type: ignore[arg-type]
        sequence.extend(tokens[n_read:])
        tell("save", timed(lambda: session.save(saved, force=True))[1], shape.n_bytes(len(tokens)))


@contextmanager
def peak_told() -> Iterator[None]:
    """Print the most memory that the process had meanwhile (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    yield
    status = Path("/proc/self/status").read_text()
    peak, mapped = (int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmHWM", "RssFile"))  # type: ignore[index]
    print(f"at most {peak / 1e6:.2f} GB resident, {mapped / 1e6:.2f} GB of them the mapped file")


def fill_up(
    model: Model, saved: Path, tokens: list[int], n_prompt: int, n_decode: int
) -> tuple[Session, dict[int, np.ndarray]]:
    """Restore, evaluate a prompt and single tokens; gives logits of some positions."""
    forget(saved)
    n_bytes = saved.stat().st_size
    restored, seconds = timed(lambda: model.restore_session(saved))
    assert restored.reason is None
    tell("restore, file on the disk", seconds, n_bytes)
    forget(saved)
    tell("read alone, file on the disk", timed(lambda: read_plainly(saved))[1], n_bytes)
    session, n_held = restored.session, len(restored.session.tokens)
    prompt = tokens[n_held : n_held + n_prompt]
    of_prompt, seconds = timed(lambda: session.evaluate_all(prompt))
    print(f"{n_prompt} tokens of a prompt behind {n_held}: {n_prompt / seconds:.1f} tokens/s")
    found = {n_held + i: of_prompt[i] for i in (0, n_prompt // 2, n_prompt - 1)}
    steps = []
    for position in range(n_held + n_prompt, len(tokens)):
        found[position], seconds = timed(lambda: session.evaluate([tokens[position]]))  # noqa: B023
        steps.append(seconds)
    print(f"{n_decode} single tokens up to {len(tokens)}: {1 / statistics.median(steps):.2f} tokens/s")
    try:
        session.evaluate([0])
    except ContextFull as full:
        print(f"one more: {full}")
    else:
        raise AssertionError("there is no room for one more")
    return session, {position: found[position] for position in [*found][:3] + [*found][-3:]}


def check(model: Model, session: Session, found: Mapping[int, np.ndarray], n_read: int, n_held: int) -> None:
    """Compare with NumPy, whole and with pages and positions left out."""
    size, n = POSITIONS_PER_PAGE, len(session.tokens)
    cache = BehindCache(model.file, session.sequence.shape, [page.bytes for page in session.sequence.pages])

    first, last = min(found), max(found)  # the first of the prompt, and the last that was decoded
    pages = (0, n_read // size - 1, n_read // size, n // size // 2, n_held // size - 1)
    left_out = [range(page * size, page * size + count) for page in pages for count in (size, 1)]
    outputs = cache.outputs(
        [Row(session.tokens[place], place) for place in found]
        + [Row(session.tokens[place], place, part) for part in left_out for place in (first, last)]
    )
    shares = outputs.page_shares.max(axis=0)
    print(
        "largest part of a head's attention that a page has: "
        f"{np.median(shares):.3f} in the median, {shares.min():.4f} the least of {len(shares)} pages"
    )
    whole, without = outputs.logits[: len(found)], outputs.logits[len(found) :]
    errors = off(np.array([*found.values()]), whole)
    print("errors of logits, in parts of their range:")
    for position, error in zip(found, errors, strict=True):
        print(f"    position {position:7}  {'prompt' if position in [*found][:3] else 'decode'}  {error:.1e}")
    print(f"what a fault would change of positions {first} and {last}:")
    changes = off(without.reshape(len(left_out), 2, -1), whole[[0, -1]])
    for part, (of_first, of_last) in zip(left_out, changes, strict=True):
        what = f"page {part.start // size}" if len(part) > 1 else f"position {part.start} alone"
        print(f"    {what + ' left out':30}{of_first:.1e}   {of_last:.1e}")


def off(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The largest error of each row, in parts of the expected row's range."""
    parts: np.ndarray = np.abs(found - expected).max(axis=-1) / np.ptp(expected, axis=-1)
    return parts


def main() -> None:
    """Measure, compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=131_072)
    parser.add_argument("--read", type=int, default=4096, help="a multiple of 64")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decode", type=int, default=16)
    parser.add_argument("--activations", action="append", help="int8, f32, or both")
    parser.add_argument("--session", type=Path, help="a file that is kept, and written unless it is there")
    options = parser.parse_args()
    path = write_air(cache_folder() / "bench" / "air-Q4_0-3-sharp.gguf", query_scale=QUERY_SCALE)
    tokens = np.random.default_rng(1).integers(0, 32768, options.tokens).tolist()
    n_held = options.tokens - options.prompt - options.decode
    with tempfile.TemporaryDirectory() as folder:
        saved = options.session or Path(folder) / "long.session"
        if not saved.exists():
            write_session(path, saved, tokens[:n_held], options.read)
        for activations in options.activations or ("f32", "int8"):
            print(f"\nactivations {activations}")
            with model_of(path, options.tokens, activations) as model:
                with peak_told():
                    session, found = fill_up(model, saved, tokens, options.prompt, options.decode)
                check(model, session, found, options.read, n_held)


if __name__ == "__main__":
    main()
