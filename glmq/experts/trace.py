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


NOT_CHOSEN = -1


class RoutingTrace:
    """Collects the choices of every run; called after each layer's routing."""

    def __init__(self) -> None:
        self._runs: list[list[tuple[np.ndarray, np.ndarray]]] = []

    def __call__(self, layer: ExpertLayer, tokens: np.ndarray) -> None:
        """Take a layer's choices for some tokens of a run, int64 (n,): their places in it."""
        if layer.index == 0:
            self._runs.append([])
        chosen = layer.routing.chosen[: len(tokens)].astype(np.int16)
        self._runs[-1].append((tokens.copy(), chosen))

    def array(self) -> np.ndarray:
        """Numbers of experts, int16 (n_tokens, n_layers, top_k), of the runs that were finished.

        NOT_CHOSEN stands where a layer was not worked out for a token: the last one is, for tokens whose
        outputs are wanted.
        """
        n_layers = max(map(len, self._runs), default=0)
        whole = [_choices(run, n_layers) for run in self._runs if len(run) >= n_layers - 1]
        return np.concatenate(whole) if whole else np.zeros((0, 0, 0), np.int16)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the array as a .npy file, in place of an earlier record or, by force, of any file.

        Raises FileExists where only force does it, GlmqError when it is not possible.
        """
        target = check_target(Path(path), TRACE, force=force)
        try:
            with replacing(target) as unfinished, unfinished.open("wb") as file:
                np.save(file, self.array())
        except OSError as error:
            raise cannot_be_written(target.path, error) from None


def _choices(run: list[tuple[np.ndarray, np.ndarray]], n_layers: int) -> np.ndarray:
    every_token, first = run[0]
    choices = np.full((len(every_token), n_layers, first.shape[1]), NOT_CHOSEN, np.int16)
    for layer, (tokens, chosen) in enumerate(run):
        choices[tokens, layer] = chosen
    return choices
