"""A forward pass: a tape with the memory it works on, and how to run it for a batch of tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from glmq_kernels.ops.attention.plan import AttentionPlanner
from glmq_kernels.ops.batch_state import N_OUTPUTS
from glmq_kernels.ops.buffers import float_rows
from glmq_kernels.threads.tape import Tape
from glmq_kernels.threads.thread_pool import ThreadPool

from .batch import BatchTable, SequencePart
from .draft_head import DraftHead
from .experts.expert_layer import ExpertLayer
from .experts.offload import ExpertOffload
from .rotary_angles import Rotary
from .tape_sections import END_WITHOUT_OUTPUTS, HEAD, LAYER


class Program:
    """What an architecture's `build` function fills: the tape, and what a run of it needs to know.

    expert_layers: the layers with routed experts. offload: set where these are not all in memory.
    hidden: float32 (max_tokens, hidden size) of a run's outputs, behind the final norm; written by every run.
    remarks: what the user should know of the file, a line each.
    rewritten_bytes: memory of weights that are kept in another form beside the file's.
    prediction: the layer of multi-token prediction, where it is wanted; hidden_inputs: the trunk's hidden
    states that such a layer's program reads, float32 (max_tokens, hidden size); draft_head: what its section
    DRAFT_HEAD multiplies with, where it has one.
    on_routing: called after each such layer's routing with the layer and the places in the run, int64, of the
    tokens that it works on.
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
        self.remarks: list[str] = []
        self.rewritten_bytes = 0
        self.prediction: Program | None = None
        self.hidden_inputs: np.ndarray = np.zeros((0, 0), np.float32)
        self.draft_head: DraftHead | None = None
        self.on_routing: Callable[[ExpertLayer, np.ndarray], None] | None = None
        pairs = len(rotary.frequencies)
        self.cosines, self.sines = (
            float_rows(tape, pairs).view(np.float32)[: tape.max_tokens * pairs] for _ in range(2)
        )
        self._table = BatchTable(
            tape.max_tokens,
            planner,
            rotary,
            *(each.reshape(tape.max_tokens, pairs) for each in (self.cosines, self.sines)),
        )

    def run(
        self,
        thread_pool: ThreadPool,
        parts: Sequence[SequencePart],
        logits: np.ndarray,
        goes_on: Callable[[], bool] = lambda: True,
        n_sections: int | None = 1,
    ) -> bool:
        """Run a batch of up to the tape's `max_tokens`, parts of the row form first.

        logits: float32 (n, n_vocab), filled in the order of the parts; (0, n_vocab) where outputs are wanted
        only as far as `hidden` has them. Keys and values are written to the pages of the parts'
        sequences.

        goes_on: asked between sections of layers; when it says no the run is given up, and this gives False.
        n_sections: how many sections, None for one of each layer. With routed experts on disk, or while
        routing is recorded, it is always by layer.
        """
        self.set_batch(parts, logits)
        end = None if len(logits) else HEAD if self.tape.state[N_OUTPUTS] else END_WITHOUT_OUTPUTS
        if self.offload is not None:
            return self.offload.run(self.tape, thread_pool, end, self._tell_routing, goes_on)
        if self.on_routing is not None:
            return self._run_recorded(thread_pool, end, goes_on)
        start = None
        for layer in self._first_of_sections(n_sections):
            self.tape.run(thread_pool, start, layer)
            if not goes_on():
                return False
            start = layer
        self.tape.run(thread_pool, start, end)
        return True

    def set_batch(self, parts: Sequence[SequencePart], logits: np.ndarray) -> None:
        """Let the next run of the tape be of these parts, as `run` does."""
        self._table.fill(parts, logits, self.tape.state)

    def n_bytes(self, n_tokens: int) -> int:
        """Memory that batches of up to `n_tokens` work on, beside weights that are mapped."""
        tapes = [each.tape for each in (self, self.prediction) if each is not None]
        return sum(tape.n_bytes(min(n_tokens, tape.max_tokens)) for tape in tapes)

    def _run_recorded(self, thread_pool: ThreadPool, end: str | None, goes_on: Callable[[], bool]) -> bool:
        """Run the tape by layer, with a look at what each has routed."""
        start = None
        for layer in self.expert_layers[:-1] if end == END_WITHOUT_OUTPUTS else self.expert_layers:
            self.tape.run(thread_pool, start, layer.sections.prefetch)
            self._tell_routing(layer)
            if not goes_on():
                return False
            start = layer.sections.prefetch
        self.tape.run(thread_pool, start, end)
        return True

    def _tell_routing(self, layer: ExpertLayer) -> None:
        if self.on_routing is not None:
            self.on_routing(layer, self._table.places(layer.part, self.tape.state))

    @property
    def layers(self) -> list[str]:
        """The sections of the tape with which layers begin."""
        return [name for name in self.tape.sections if re.fullmatch(LAYER, name)]

    def _first_of_sections(self, n_sections: int | None) -> list[str]:
        """The layers with which sections of about equal length begin, but for the first."""
        if n_sections == 1:
            return []
        layers = self.layers
        n = len(layers) if n_sections is None else min(n_sections, len(layers))
        return [layers[len(layers) * i // n] for i in range(1, n)]
