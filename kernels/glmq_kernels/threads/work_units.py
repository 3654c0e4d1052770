"""Units of an operation's work, which threads take as they get free.

A thread on a slow core, or on one that it shares with another program, then holds nobody up for longer than
its last chunk takes.

Where the machine's memory is in several nodes, each near to some of the threads, every node has an equal
share of a matrix's rows, and the threads near it take those first, then what is left of the others'.
"""

from __future__ import annotations

from typing import Any

from ..simd.addresses import argument, atomic_add, inline
from .argument_record import COUNTER_BYTES, N_NODES, TAKEN

UNITS_PER_THREAD = 8
"""Where there would be fewer, units are made smaller, so that all threads end at about the same time."""

LEAST_ROWS = 2
"""Of a unit of a matrix."""


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
    return _take_of_node(args, 0, n_units, threads)


@inline
def _take_of_node(args, node, n_units, threads):
    """The same of a node's units."""
    counter = argument(args, TAKEN) + COUNTER_BYTES * node
    threads_near = max(1, threads // argument(args, N_NODES))
    return chunk_borders(atomic_add(counter, 1), n_units, threads_near)


@inline
def _node_in_turn(args, turn, thread, threads):
    """Which node's units a thread takes in its turns from 0 on: those of the node near it come first."""
    nodes = argument(args, N_NODES)
    return (thread * nodes // threads + turn) % nodes


@inline
def share_begin(args, node, n_units):
    """Where a node's share of a matrix's units begins; it ends where the next node's does."""
    return n_units * node // argument(args, N_NODES)


@inline
def share_size(args, node, n_units):
    """How many of a matrix's units a node has."""
    return share_begin(args, node + 1, n_units) - share_begin(args, node, n_units)


def make_take_by_node(units_of_node: Any, run_units: Any) -> Any:
    """`take_by_node(args, thread, threads, given)`: units of all nodes, those of the thread's own node first.

    units_of_node(args, node, given): how many a node has. run_units(args, node, first, last, given): works on
    some of them, which are counted from the node's first one. given: what the operation tells both.
    """

    @inline
    def take_by_node(args, thread, threads, given):
        for turn in range(argument(args, N_NODES)):
            node = _node_in_turn(args, turn, thread, threads)
            n_units = units_of_node(args, node, given)
            first, last = _take_of_node(args, node, n_units, threads)
            while first < last:
                run_units(args, node, first, last, given)
                first, last = _take_of_node(args, node, n_units, threads)

    return take_by_node


@inline
def rows_of_unit(most, n_rows, threads):
    """Rows of a unit of a product whose rows may be shared out in any way: `most`, or fewer for many threads.

    most: a power of two.
    """
    rows = most
    while threads > 1 and rows > LEAST_ROWS and n_rows < UNITS_PER_THREAD * threads * rows:
        rows //= 2
    return rows


@inline
def rows_of_panel_unit(least, most, n_rows, threads):
    """The same of a product of many tokens, which wants no fewer rows than `least`."""
    return max(least, rows_of_unit(most, n_rows, threads))


@inline
def take_one(args):
    """The number of the next unit, for units of very different sizes that are in order, the largest first."""
    return atomic_add(argument(args, TAKEN), 1)
