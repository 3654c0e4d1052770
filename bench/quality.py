"""Sizes of quantizations beside what they lose: named mixes and target sizes, with and without importance.

Each named mix is made of the original, then a file of at most its size (`--target-size`) by its tensors'
errors and by what the calibration text shows of their cost (`--calibrate`). Both read texts that are not part
of the calibration, and their predictions are compared with the original's (mean Kullback-Leibler divergence).
A table goes to standard output, in Markdown, and a plot to a file.

python bench/quality.py MODEL -f TEXT [-f CONVERSATIONS.json] --calibrate TEXT [--svg FILE]

MODEL is a GGUF file, a demo model's name or the folder of a checkpoint.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from glmq_convert.conversion import convert, quantize
from glmq_convert.importance import Importance
from glmq_convert.target_size import TargetSize

import glmq
from glmq.gguf import open_gguf
from glmq.importance import make_importance
from glmq.importance.texts import read_text
from glmq.model_file import model_file
from glmq.quality.chunks import chunks_of_text
from glmq.quality.divergence import divergence
from glmq.quality.logits_file import LogitsFile, check_logits_target, writing_logits
from glmq.quality.perplexity import perplexity
from glmq.quality.sensitivities import measure_sensitivities

MIXES = ("Q3_K_M", "IQ4_XS", "Q4_K_S", "Q4_K_M")
N_CTX = 512
WEIGHED = {"both": (False, True), "no": (False,), "yes": (True,)}
"""Which rows are made: with an importance matrix or without."""


@dataclass(frozen=True)
class Row:
    """A mix, with or without importance, and the file of its size: bytes, and divergences by text."""

    mix: str
    weighed: bool
    n_bytes: int
    named: list[float]
    n_bytes_of_target: int
    by_target: list[float]


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("-f", dest="texts", type=Path, action="append", required=True)
    parser.add_argument("--calibrate", type=Path, action="append", required=True)
    parser.add_argument("--mix", action="append", help=f"default: {', '.join(MIXES)}")
    parser.add_argument("--chunks", type=int)
    parser.add_argument("--importance", choices=WEIGHED, default="both", help="which rows")
    parser.add_argument("--svg", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        original = _original(chosen.model, folder)
        bases = [_base(original, text, chosen.chunks, folder) for text in chosen.texts]
        importance = make_importance(original, chosen.calibrate, folder / "imatrix.gguf")
        found = _Found(original, chosen.calibrate, importance)
        rows = list(_rows(found, bases, chosen.mix or MIXES, WEIGHED[chosen.importance], folder))
    if chosen.svg:
        _plot(rows, [text.stem for text in chosen.texts], chosen.svg)


def _original(model: str, folder: Path) -> Path:
    """The model's file; of a checkpoint, one in BF16 without layers of multi-token prediction."""
    if Path(model).is_dir():
        return convert(model, folder / "original.gguf", "bf16", mtp=False)
    return model_file(model)


def _base(original: Path, text: Path, n_chunks: int | None, folder: Path) -> LogitsFile:
    """The original's predictions of a text."""
    with glmq.load(original, n_ctx=4 * N_CTX, activations="f32") as model:
        given = read_text(text, model)
        chunks = chunks_of_text(model.tokenizer, given.content, N_CTX, n_chunks, special=given.special)
        target = check_logits_target(folder / f"{text.stem}.kld")
        with writing_logits(target, chunks, model.n_vocab) as writer:
            perplexity(model, chunks, base=writer)
    return LogitsFile(target.path)


@dataclass(frozen=True)
class _Found:
    """The original, the calibration texts and the importance matrix that they give."""

    original: Path
    calibration: list[Path]
    importance: Importance


def _rows(
    found: _Found, bases: list[LogitsFile], mixes: Sequence[str], weighed: Sequence[bool], folder: Path
) -> Iterator[Row]:
    names = " | ".join(f"{base.path.stem}, named | target | ratio" for base in bases)
    print(f"| mix | importance | MB | {names} |\n| --- | --- | --- |{' --- | --- | --- |' * len(bases)}")
    with open_gguf(found.original) as source:
        for has_importance in weighed:
            matrix = found.importance if has_importance else None
            costs = measure_sensitivities(found.original, found.calibration, importance=matrix)
            for mix in mixes:
                made = quantize(source, folder / "named.gguf", mix, importance=matrix, force=True)
                n_bytes = made.stat().st_size
                size = TargetSize(n_bytes, sensitivities=costs)
                sized = quantize(source, folder / "sized.gguf", mix, size=size, importance=matrix, force=True)
                row = Row(
                    mix, has_importance, n_bytes, _divergences(made, bases), sized.stat().st_size,
                    _divergences(sized, bases),
                )  # fmt: skip
                print(_line(row), flush=True)
                yield row


def _divergences(path: Path, bases: list[LogitsFile]) -> list[float]:
    with glmq.load(path, n_ctx=4 * N_CTX, activations="f32") as model:
        return [divergence(model, base).kl.value for base in bases]


def _line(row: Row) -> str:
    pairs = zip(row.named, row.by_target, strict=True)
    cells = " | ".join(f"{named:.5f} | {sized:.5f} | {sized / named:.2f}" for named, sized in pairs)
    return f"| {row.mix} | {'yes' if row.weighed else 'no'} | {row.n_bytes / 1e6:.2f} | {cells} |"


def _plot(rows: list[Row], texts: list[str], path: Path) -> None:
    """Size against divergence, both kinds of files, with and without importance, a picture for each text."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "glmq", "svg.fonttype": "none", "font.size": 9}
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(texts), figsize=(5 * len(texts), 4), squeeze=False, sharey=True)
    for i, (text, axis) in enumerate(zip(texts, axes[0], strict=True)):
        for weighed in (False, True):
            some = sorted((row for row in rows if row.weighed == weighed), key=lambda row: row.n_bytes)
            with_it, line = (" with importance", "-") if weighed else ("", "--")
            sizes = [row.n_bytes / 1e6 for row in some]
            sizes_of_target = [row.n_bytes_of_target / 1e6 for row in some]
            named, by_target = [row.named[i] for row in some], [row.by_target[i] for row in some]
            axis.plot(sizes, named, f"C0o{line}", label=f"named mix{with_it}")
            axis.plot(sizes_of_target, by_target, f"C1s{line}", label=f"target size{with_it}")
        for row in {row.mix: row for row in rows}.values():
            highest = max(each.named[i] for each in rows if each.mix == row.mix)
            axis.annotate(
                row.mix, (row.n_bytes / 1e6, highest), xytext=(0, 6), textcoords="offset points", ha="center"
            )
        axis.set(title=text.replace("_", " "), xlabel="MB", yscale="log")
        axis.margins(x=0.1, y=0.15)
        axis.grid(alpha=0.3, which="both")
    axes[0][0].set_ylabel("mean KL divergence from the original")
    axes[0][-1].legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
