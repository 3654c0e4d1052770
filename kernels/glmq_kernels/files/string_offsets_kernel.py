"""Walking a run of length-prefixed strings."""

from __future__ import annotations

from ..simd.addresses import argument, load_i64, store_i64


def walk(args, thread, threads):
    """Arguments: data, size of data, start, count, out (count + 1 int64), out count of strings walked."""
    data, size = argument(args, 0), argument(args, 1)
    at, count, out = argument(args, 2), argument(args, 3), argument(args, 4)
    done = 0
    while done < count and at + 8 <= size:
        length = load_i64(data + at)
        if length < 0 or length > size - at - 8:
            break
        store_i64(out + 8 * done, at)
        at += 8 + length
        done += 1
    store_i64(out + 8 * done, at)
    store_i64(argument(args, 5), done)
