"""Units of an operation's work, which threads take as they get free.

A thread on a slow core, or on one that it shares with another program, then holds nobody up for longer than
its last chunk takes.
"""

from __future__ import annotations

from ..simd.addresses import argument, atomic_add, inline
from .argument_record import TAKEN


@inline
def chunk_borders(chunk, n_units, threads):
    """First and last unit (not included) of a chunk; nothing is left where the first is not below the last.

    A round has a chunk for every thread, together half of the units that are left, down to chunks of one
    unit. So most memory is read in long runs, a thread takes about log2(n_units / threads) + 2 chunks, and
    the last ones are small.
    """
    begin, size = 0, n_units // (2 * threads)
    while size > 1 and chunk >= threads:
        chunk -= threads
        begin += threads * size
        size = (n_units - begin) // (2 * threads)
    size = max(size, 1)
    first = begin + chunk * size
    return first, min(first + size, n_units)


@inline
def take(args, n_units, threads):
    """The next chunk of an operation's units, as `chunk_borders` gives it.

    args: the operation's argument record. Every thread asks until there is nothing left:

        first, last = take(args, n_units, threads)
        while first < last:
            for unit in range(first, last):
                ...
            first, last = take(args, n_units, threads)
    """
    return chunk_borders(atomic_add(argument(args, TAKEN), 1), n_units, threads)


@inline
def take_one(args):
    """The number of the next unit, for units of very different sizes that are in order, the largest first."""
    return atomic_add(argument(args, TAKEN), 1)
