"""Sums of the inputs of products, where somebody wants to know them."""

from __future__ import annotations

from collections.abc import Iterable

from ...arrays import address_of, zeros
from ...threads.tape import InputSums, Tape
from ..batch_part import BatchPart
from ..operands import Activation, Matrix, Routing
from .arguments import SumSquares


def sum_inputs(
    tape: Tape,
    matrices: Iterable[Matrix],
    source: Activation,
    part: BatchPart,
    *,
    n_heads: int = 1,
    scale: float = 1.0,
    routing: Routing | None = None,
    by_place: bool = False,
    after: Routing | None = None,
) -> None:
    """Before a product: add the squares of its inputs to sums of their own, which `tape.input_sums` then has.

    Only for matrices that are observed; nothing is done where none is. n_heads: matrices that each have a
    head of every token. scale: by what the rows are multiplied already. routing, by_place: whose inputs are
    the rows of a token, or of a token and choice. after: of a dense network's product, the routing of the
    experts in whose groups it is run.
    """
    names = tuple(dict.fromkeys(matrix.observed_as for matrix in matrices if matrix.observed_as))
    if not names:
        return
    n_matrices = routing.n_experts if routing else n_heads
    found = InputSums(
        names,
        sums=zeros((n_matrices, source.columns), "float32"),
        counts=zeros(n_matrices, "int64"),
        by_expert=routing is not None,
        scale=scale,
    )
    tape.input_sums.append(found)
    # Whoever wants the sums keeps totals of them in float64.
    tape.keep(found.sums, lambda n_tokens: 3 * found.sums.nbytes)
    tape.add(
        "ops.input_sums.kernel.sum_squares",
        SumSquares,
        count_slot=part.count_slot,
        source=address_of(source.rows),
        columns=source.columns,
        n_heads=n_heads,
        routing=routing.address if routing else 0,
        by_place=int(by_place),
        after=after.address if after else 0,
        sums=address_of(found.sums),
        counts=address_of(found.counts),
        barrier=False,
    )
