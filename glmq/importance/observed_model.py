"""A model whose tape adds up the squares of the inputs of its matrices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from glmq_convert.importance import TensorSums
from glmq_kernels.jit.compilation import Progress

from ..errors import NotFinite
from ..gguf import GET_IT_AGAIN, GGUFFile
from ..loaded_model import LoadedModel
from ..session import trained_context

BLOCKS, OUTPUT = "blk.", "output.weight"
TEXTS_AT_ONCE = 2048
"""Tokens of a batch that memory is planned for. The more, the fewer times all experts are read."""


class ObservedModel(LoadedModel):
    """A model that reads chunks of text, each by itself, and knows what its matrices met.

    process_output: whether the head's input counts too. observes: whether any does; without, it only reads.
    n_at_once: chunks in a batch.
    """

    def __init__(
        self,
        file: GGUFFile,
        chunk_size: int,
        *,
        process_output: bool = False,
        observes: bool = True,
        n_threads: int | None = None,
        cache_type: str = "F16",
        activations: str = "auto",
        ram: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        wanted = () if not observes else (BLOCKS, OUTPUT) if process_output else (BLOCKS,)
        super().__init__(
            file, n_ctx=max(chunk_size, min(trained_context(file, TEXTS_AT_ONCE), TEXTS_AT_ONCE)),
            n_threads=n_threads, cache_type=cache_type, activations=activations, ram=ram, progress=progress,
            observes=lambda name: name.startswith(wanted),
        )  # fmt: skip
        self._process_output = process_output
        pool = self._engine.prefix_tree.pool
        pages = pool.shape.n_pages(chunk_size)
        self.n_at_once = max(1, min(self.batch // chunk_size, pool.max_pages // pages))
        self._found = self._engine.input_sums
        self._sums = [np.zeros(each.sums.shape, np.float64) for each in self._found]
        self._counts = [np.zeros(each.counts.shape, np.int64) for each in self._found]

    def read(self, chunks: Sequence[np.ndarray]) -> None:
        """Take chunks of tokens, int64 (n,) each, up to `n_at_once`, in. All of them count, or none.

        Raises NotFinite where an input is not a number, naming the tensor.
        """
        for each in self._found:  # what a batch that did not end has left
            each.sums[:], each.counts[:] = 0, 0
        self._engine.run_texts(chunks, head=self._process_output)
        for each in self._found:
            if not np.isfinite(each.sums).all():
                raise NotFinite(
                    f"{self.path}: what {each.names[0]} meets is not finite (NaN or infinity);"
                    f" the file is probably damaged: {GET_IT_AGAIN}"
                )
        for each, sums, counts in zip(self._found, self._sums, self._counts, strict=True):
            sums += each.sums
            counts += each.counts

    def tensor_sums(self) -> Mapping[str, TensorSums]:
        """What the matrices have met so far, by tensor."""
        return dict(self._by_name())

    def _by_name(self) -> Iterator[tuple[str, TensorSums]]:
        for each, sums, counts in zip(self._found, self._sums, self._counts, strict=True):
            rounded = (sums / each.scale**2).astype(np.float32)
            # Matrices of heads are one tensor with one count.
            found = (
                TensorSums(rounded, counts.copy())
                if each.by_expert
                else TensorSums(rounded.reshape(1, -1), counts[:1].copy())
            )
            for name in each.names:
                yield name, found
