"""Memory of a tape's batches: rows of floats, activations, and experts' choices."""

from __future__ import annotations

import numpy as np

from ..arrays import ROW_PADDING, aligned_zeros
from ..gemm.sizes import tile_count
from ..threads.tape import Tape
from .operands import Activation, Routing


def float_rows(tape: Tape, columns: int) -> np.ndarray:
    """Memory for float32 (max_tokens, columns), as uint8; padded so that 16 lanes may pass the end."""

    def n_bytes(n_tokens: int) -> int:
        return n_tokens * columns * 4 + ROW_PADDING

    memory = aligned_zeros(n_bytes(tape.max_tokens))
    tape.keep(memory, n_bytes)
    return memory


def floats_of(memory: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Such memory seen as float32 (rows, columns)."""
    return memory[: rows * columns * 4].view(np.float32).reshape(rows, columns)


def new_activation(tape: Tape, columns: int) -> Activation:
    """An activation (max_tokens, columns)."""
    activation = Activation(tape.max_tokens, columns, tile_count(tape.max_tokens), tape.activations)
    tape.keep(activation, lambda n_tokens: activation.n_bytes(n_tokens, tile_count(n_tokens)))
    return activation


def new_routing(tape: Tape, n_experts: int, top_k: int) -> Routing:
    """Room for the choices of a batch."""
    routing = Routing(tape.max_tokens, n_experts, top_k)
    tape.keep(routing, routing.n_bytes)
    return routing


def new_gathered(tape: Tape, columns: int, routing: Routing) -> Activation:
    """Tiles of tokens (columns,) by expert; an activation of which rows are not used."""
    activation = Activation(1, columns, routing.max_tiles(tape.max_tokens), tape.activations)
    tape.keep(activation, lambda n_tokens: activation.n_bytes(1, routing.max_tiles(n_tokens)))
    return activation


def new_chosen(tape: Tape, columns: int, routing: Routing) -> Activation:
    """An activation (max_tokens * top_k, columns): a row for each token and expert that it has chosen."""
    top_k = routing.top_k
    activation = Activation(
        tape.max_tokens * top_k, columns, routing.max_tiles(tape.max_tokens), tape.activations
    )
    tape.keep(activation, lambda n_tokens: activation.n_bytes(n_tokens * top_k, routing.max_tiles(n_tokens)))
    return activation
