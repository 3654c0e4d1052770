"""Making an importance matrix: all texts through the model, saved as it goes.

What is saved is whole at any time and can be used. It says of which model, texts and settings it is made and
how far it is, so that the same call goes on where an earlier one was interrupted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
from glmq_convert.importance import (
    Importance,
    MakingOf,
    importance_target,
    merge_importance,
    read_importance,
    write_importance,
)
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import FileExists, check_is_not_read

from ..argument_checks import check_count
from ..gguf import GGUFFile, open_gguf
from ..model_file import model_file
from ..optional_packages import optional_packages
from .observed_model import ObservedModel
from .texts import Text, chunks_of, read_content, text_of

CHUNK_SIZE = 512
SAVED_EVERY = 10
"""Chunks between two saves, about."""

Told = Callable[[str, float], None]
Path_ = str | os.PathLike[str]


@dataclass(frozen=True)
class ImportanceOptions:
    """How an importance matrix is made.

    chunk_size: tokens that are read by themselves. n_chunks: of all texts together, at most. process_output:
    whether the head counts too. earlier: files of importance matrices that are merged into it. The others are
    those of `glmq.load`.
    """

    chunk_size: int = CHUNK_SIZE
    n_chunks: int | None = None
    process_output: bool = False
    earlier: Sequence[Path_] = ()
    n_threads: int | None = None
    cache_type: str = "F16"
    activations: str = "auto"
    ram: int | None = None


def make_importance(
    model: Path_,
    texts: Sequence[Path_],
    out: Path_,
    options: ImportanceOptions | None = None,
    *,
    force: bool = False,
    progress: Told | None = None,
    remark: Callable[[str], None] | None = None,
) -> Importance:
    """Let a model read texts, and write the importance matrix that comes of it; gives it.

    model: a GGUF file, or a demo model's name. texts: files (see `texts.py`). out: a file of its own, which
    is saved every ten chunks; where the same call was interrupted before it goes on from there. force:
    replace what is there. progress(text, fraction); remark: is told, in a sentence, what is to be known.

    Raises FileExists where `out` is something else, GlmqError for what cannot be used. What ends it early,
    Ctrl-C too, leaves in `out` what was done until then.
    """
    options = options or ImportanceOptions()
    check_count("chunk_size", options.chunk_size)
    check_count("n_chunks", options.n_chunks)
    if options.chunk_size < 2:
        raise GlmqError("a chunk has at least 2 tokens", setting="chunk_size")
    if not texts:
        raise GlmqError("there is no text; name a file")
    tell = progress or (lambda text, fraction: None)
    earlier = [read_importance(path) for path in options.earlier]
    contents = [read_content(Path(path)) for path in texts]  # before the model is loaded, which takes time
    file = open_gguf(model_file(model, progress))
    try:
        observed = ObservedModel(
            file, options.chunk_size, process_output=options.process_output, n_threads=options.n_threads,
            cache_type=options.cache_type, activations=options.activations, ram=options.ram,
            progress=progress,
        )  # fmt: skip
    except BaseException:
        file.close()
        raise
    with observed:
        for text in [*observed.remarks, *_left_out(file)]:
            if remark:
                remark(text)
        found = [
            text_of(Path(path), content, observed) for path, content in zip(texts, contents, strict=True)
        ]
        chunks = [chunk for text in found for chunk in chunks_of(text, observed, options.chunk_size)]
        run = _Run(observed, found, chunks[: options.n_chunks], earlier, options, texts, Path(out), force)
        return run.finish(tell)


def _left_out(file: GGUFFile) -> list[str]:
    """What is to be said of tensors whose inputs are not known."""
    architecture = file.text("general.architecture")
    n = file.integer(f"{architecture}.nextn_predict_layers", 0)
    has = any(".nextn." in name for name in file.tensors)
    remarks = []
    if n and has:
        remarks.append("the layers of multi-token prediction (nextn) do not run, so nothing is known of them")
    if any(name.endswith(".attn_kv_b.weight") for name in file.tensors):
        remarks.append("attn_kv_b is used in another form than the file's, so nothing is known of it")
    return remarks


class _Run:
    """The chunks that are still to be read, and what is known before them."""

    def __init__(
        self,
        model: ObservedModel,
        texts: Sequence[Text],
        chunks: Sequence[np.ndarray],
        earlier: Sequence[Importance],
        options: ImportanceOptions,
        sources: Sequence[Path_],
        out: Path,
        force: bool,
    ) -> None:
        self._model, self._chunks, self._options, self._out = model, chunks, options, out
        self._datasets = tuple(text.name for text in texts)
        self._identity = _identity(model, chunks, earlier, options)
        self._begun_with = list(earlier)
        self._n_before = 0
        begun = None if force else _read_begun(out, self._identity)
        if begun is not None and begun.making is not None:
            self._begun_with, self._n_before = [begun], begun.making.n_done
        self._n_done = self._n_before
        target = importance_target(out, force=force or begun is not None)  # refuses what cannot be written
        check_is_not_read(target, [*model.file.paths, *map(Path, sources)])

    def finish(self, tell: Told) -> Importance:
        """Read what is left; saved as it goes, and whatever ends it."""
        n_saved = self._n_done
        began = time.perf_counter()
        try:
            while self._n_done < len(self._chunks):
                tell(self._how_far(time.perf_counter() - began), self._n_done / len(self._chunks))
                n_at_once = min(self._model.n_at_once, SAVED_EVERY)
                some = self._chunks[self._n_done : self._n_done + n_at_once]
                self._model.read(some)
                self._n_done += len(some)
                if self._n_done - n_saved >= SAVED_EVERY:
                    n_saved = self._save()
        finally:
            if self._n_done > n_saved:
                self._save()
        return self._now()

    def _how_far(self, seconds: float) -> str:
        n_read, n_left = self._n_done - self._n_before, len(self._chunks) - self._n_done
        text = f"reading the texts: chunk {self._n_done + 1} of {len(self._chunks)}"
        if not n_read:
            return text
        speed = n_read * self._options.chunk_size / seconds
        left = timedelta(seconds=round(n_left * seconds / n_read))
        return f"{text}, {speed:.0f} tokens/s, {left} left"

    def _now(self) -> Importance:
        """All that is known, with the texts' names in their order."""
        n_read = self._n_done - self._n_before
        chunk_size = self._options.chunk_size
        made = Importance(str(self._out), self._datasets, n_read, chunk_size, self._model.tensor_sums())
        merged = merge_importance([*self._begun_with, made] if n_read else self._begun_with)
        making = MakingOf(self._identity, self._n_done, len(self._chunks))
        return replace(merged, file=str(self._out), chunk_size=chunk_size, making=making)

    def _save(self) -> int:
        # Not by the rules for files that are there: it is this run's own by now.
        write_importance(self._now(), importance_target(self._out, force=True))
        return self._n_done


def _identity(
    model: ObservedModel,
    chunks: Sequence[np.ndarray],
    earlier: Sequence[Importance],
    options: ImportanceOptions,
) -> str:
    """A string that is the same only for the same model, tokens and settings."""
    with optional_packages():
        import xxhash

    digest = xxhash.xxh3_128(model.file.fingerprint.encode())
    for chunk in chunks:
        digest.update(chunk.data)
    for each in earlier:
        digest.update(f"{each.n_chunks} {sorted(each.tensors)}".encode())
        for found in each.tensors.values():
            digest.update(np.ascontiguousarray(found.counts).data)
    digest.update(f"{options.chunk_size} {options.process_output} {model.activations}".encode())
    return str(digest.hexdigest())


def _read_begun(out: Path, identity: str) -> Importance | None:
    """What an earlier run of the same has left. None where nothing is there.

    Raises FileExists for an importance matrix of something else, which nobody wants to lose.
    """
    if not out.exists() or not out.stat().st_size:
        return None
    try:
        begun = read_importance(out)
    except GlmqError:
        return None  # to be refused with all that is no importance matrix
    if begun.making is None or begun.making.identity != identity:
        raise FileExists(
            f"{out} is an importance matrix of another model, text or setting; name another file"
            " (and merge them afterwards)"
        )
    return begun
