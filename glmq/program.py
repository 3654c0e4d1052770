"""A forward pass: a tape with the memory it works on, and how to run it for a batch of tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from glmq_kernels.arrays import address_of, zeros
from glmq_kernels.gemm.sizes import ROW_TOKENS
from glmq_kernels.ops.attention.plan import AttentionPlanner
from glmq_kernels.ops.batch_state import (
    LOGITS,
    N_LOGITS,
    N_OUTPUTS,
    N_ROW_OUTPUTS,
    N_ROW_TOKENS,
    N_TOKENS,
    OUTPUTS,
    PAGE_TABLES,
    POSITIONS,
    TOKENS,
)
from glmq_kernels.ops.operations import float_rows
from glmq_kernels.threads.tape import Tape
from glmq_kernels.threads.thread_pool import ThreadPool

from .experts.expert_layer import ExpertLayer
from .experts.offload import ExpertOffload, OnRouting
from .kv_cache.sequence import Sequence


@dataclass(frozen=True)
class Rotary:
    """Rotary embedding: angle of dimension pair i at position p is p * frequencies[i] radians.

    `interleaved` pairs neighbours (2i, 2i + 1), otherwise pairs are (i, i + n_rotated / 2). What is rotated
    is also multiplied by `amplitude`.
    """

    frequencies: np.ndarray
    interleaved: bool
    amplitude: float = 1.0

    @property
    def n_rotated(self) -> int:
        """Dimensions of a head that are rotated."""
        return 2 * len(self.frequencies)


END_WITHOUT_OUTPUTS = "outputs"
"""The tape's section that is needed only where outputs are wanted."""


class Program:
    """What an architecture's `build` function fills: the tape, and what a run of it needs to know.

    expert_layers: the layers with routed experts. offload: set where these are not all in memory.
    hidden: float32 (max_tokens, hidden size) of a run's outputs, behind the last layer and before the final
    norm.
    on_routing: called after each such layer's routing with the layer and the number of tokens.
    """

    def __init__(self, tape: Tape, planner: AttentionPlanner, rotary: Rotary, n_vocab: int) -> None:
        self.tape = tape
        self.planner = planner
        self.cache_shape = planner.shape
        self.rotary = rotary
        self.n_vocab = n_vocab
        self.hidden: np.ndarray = np.zeros((0, 0), np.float32)
        self.expert_layers: list[ExpertLayer] = []
        self.offload: ExpertOffload | None = None
        self.on_routing: OnRouting | None = None
        pairs = len(rotary.frequencies)
        self.cosines, self.sines = (
            float_rows(tape, pairs).view(np.float32)[: tape.max_tokens * pairs] for _ in range(2)
        )
        self._positions, self._page_tables, self._outputs = (
            zeros(tape.max_tokens, np.int64) for _ in range(3)
        )

    def run(
        self,
        thread_pool: ThreadPool,
        tokens: np.ndarray,
        n_past: int,
        sequence: Sequence,
        logits: np.ndarray,
        first_output: int,
    ) -> None:
        """Run a batch.

        tokens: int64 (n,), n up to the tape's `max_tokens`; their keys and values are written to the pages
        of `sequence` from position `n_past` on. logits: float32 (n - first_output, n_vocab) is filled for
        the tokens from `first_output` on.
        """
        n = len(tokens)
        assert logits.flags.c_contiguous and logits.shape == (n - first_output, self.n_vocab)
        positions, page_tables = self._positions[:n], self._page_tables[:n]
        positions[:] = np.arange(n_past, n_past + n)
        page_tables[:] = address_of(sequence.page_table)
        outputs = self._outputs[: n - first_output]
        outputs[:] = np.arange(first_output, n)
        angles = np.outer(positions, self.rotary.frequencies)
        amplitude = self.rotary.amplitude
        self.cosines[: angles.size] = amplitude * np.cos(angles).ravel()
        self.sines[: angles.size] = amplitude * np.sin(angles).ravel()
        state = self.tape.state
        state[N_TOKENS], state[N_ROW_TOKENS] = n, n if n <= ROW_TOKENS else 0
        state[TOKENS] = address_of(tokens)
        state[POSITIONS], state[PAGE_TABLES] = address_of(positions), address_of(page_tables)
        state[OUTPUTS] = address_of(outputs)
        state[N_OUTPUTS], state[N_LOGITS] = len(outputs), len(outputs)
        state[N_ROW_OUTPUTS] = len(outputs) if len(outputs) <= ROW_TOKENS else 0
        state[LOGITS] = address_of(logits)
        self.planner.plan(state, positions, page_tables)
        end = None if len(outputs) else END_WITHOUT_OUTPUTS
        if self.offload is not None:
            self.offload.run(self.tape, thread_pool, end, self.on_routing)
        elif self.on_routing is not None:
            start = None
            for layer in self.expert_layers if len(outputs) else self.expert_layers[:-1]:
                self.tape.run(thread_pool, start, layer.sections.prefetch)
                self.on_routing(layer, int(state[layer.part.count_slot]))
                start = layer.sections.prefetch
            self.tape.run(thread_pool, start, end)
        else:
            self.tape.run(thread_pool, None, end)
