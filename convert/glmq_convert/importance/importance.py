"""What is known of the inputs of a model's matrices, and what a quantizer takes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from glmq_kernels.errors import GlmqError


@dataclass(frozen=True)
class TensorSums:
    """Of one tensor: what its input columns' squares add up to.

    sums: float32 (n_counts, columns). counts: int64 (n_counts,), how many rows (tokens) were added: one for
    each expert; a single one for any other tensor, whose matrices, where it has several (attn_k_b), have
    their columns one after the other.
    """

    sums: np.ndarray
    counts: np.ndarray

    @property
    def unseen(self) -> np.ndarray:
        """The experts that no token went to, int64 (n,)."""
        return np.flatnonzero(self.counts == 0)


@dataclass(frozen=True)
class MakingOf:
    """How far the making of an importance matrix is.

    identity: of model, texts and settings, so that it can be gone on with. n_done, n_wanted: chunks of these
    texts.
    """

    identity: str
    n_done: int
    n_wanted: int


@dataclass(frozen=True)
class Importance:
    """An importance matrix.

    file: where it comes from, as it was named. datasets: names of the texts. n_chunks: stretches of text that
    were evaluated; chunk_size: tokens of each. tensors: sums by the full name of the weight tensor. making:
    set where glmq made it.
    """

    file: str
    datasets: tuple[str, ...]
    n_chunks: int
    chunk_size: int
    tensors: Mapping[str, TensorSums]
    making: MakingOf | None = None

    @property
    def n_entries(self) -> int:
        """Tensors of which something is known."""
        return len(self.tensors)

    def of(self, name: str, n_matrices: int, columns: int) -> np.ndarray | None:
        """Means of x² by column, float32 (n_matrices, columns); None for a tensor that is not there.

        An expert that no token went to gets the mean of all tokens of the others in its layer; where none of
        a tensor's was seen, everything matters alike (ones). `remarks` tells of both.
        Raises GlmqError where the tensor has another size.
        """
        found = self.tensors.get(name)
        if found is None:
            return None
        counts = found.counts
        if found.sums.size != n_matrices * columns or len(counts) not in (1, n_matrices):
            raise GlmqError(
                f"{self.file} is of another model: {name} has {found.sums.size} columns and"
                f" {len(counts)} counts there, and {n_matrices} matrices of {columns} columns in the model;"
                " choose the importance matrix of this one"
            )
        sums = found.sums.reshape(n_matrices, columns)
        by_matrix = np.broadcast_to(counts, n_matrices)[:, None]
        means: np.ndarray = (sums / np.maximum(by_matrix, 1)).astype(np.float32)
        seen = by_matrix[:, 0] > 0
        if len(counts) < n_matrices:
            seen &= ~(means == 1).all(1)  # how the .dat form, without counts by expert, tells of unseen ones
        if not seen.any():
            return np.ones((n_matrices, columns), np.float32)
        means[~seen] = sums[seen].sum(0, dtype=np.float64) / by_matrix[seen].sum()
        return means

    def remarks(self) -> list[str]:
        """What a user should know of it: the experts that no token went to."""
        some = [each for each in self.tensors.values() if each.counts.any() and len(each.unseen)]
        none = [name for name, each in self.tensors.items() if not each.counts.any()]
        remarks = []
        if some:
            worst = max(some, key=lambda each: len(each.unseen))
            remarks.append(
                f"{self.file}: no token went to some experts of {len(some)} tensors, up to"
                f" {len(worst.unseen)} of {len(worst.counts)}; they get the mean of their layer's others"
            )
        if none:
            remarks.append(
                f"{self.file}: {len(none)} tensors were never used; in {none[0]} all columns count alike"
            )
        return remarks
