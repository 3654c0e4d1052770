"""Which experts were chosen for which token, recorded for `bench/expert_cache.py`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from glmq_kernels.files.file_writing import Kind, cannot_be_written, check_target, replacing

from .expert_layer import ExpertLayer


def _is_trace(path: Path) -> bool:
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return len(shape) == 3 and dtype == np.int16


TRACE = Kind("a record of routing", _is_trace)


class RoutingTrace:
    """Collects the choices of every batch; called after each layer's routing."""

    def __init__(self) -> None:
        self._batches: list[list[np.ndarray]] = []

    def __call__(self, layer: ExpertLayer, n_tokens: int) -> None:
        """Take a layer's choices for the tokens of a batch."""
        if layer.index == 0:
            self._batches.append([])
        self._batches[-1].append(layer.routing.chosen[:n_tokens].astype(np.int16))

    def array(self) -> np.ndarray:
        """Numbers of experts, int16 (n_tokens, n_layers, top_k), of the batches that were finished."""
        n_layers = max(map(len, self._batches), default=0)
        whole = [np.stack(batch, axis=1) for batch in self._batches if len(batch) == n_layers]
        return np.concatenate(whole) if whole else np.zeros((0, 0, 0), np.int16)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the array as a .npy file, in place of an earlier record or, by force, of any file.

        Raises FileExists where only force does it, UserError when it is not possible.
        """
        target = check_target(Path(path), TRACE, force=force)
        try:
            with replacing(target) as unfinished, unfinished.open("wb") as file:
                np.save(file, self.array())
        except OSError as error:
            raise cannot_be_written(target.path, error) from None
