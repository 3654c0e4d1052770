"""Walking a run of length-prefixed strings."""

from __future__ import annotations

from ..simd.addresses import argument, load_i64, store_i64
from .arguments import WalkStrings


def walk(args, thread, threads):
    data, size = argument(args, WalkStrings.DATA), argument(args, WalkStrings.SIZE)
    at, count = argument(args, WalkStrings.START), argument(args, WalkStrings.COUNT)
    offsets = argument(args, WalkStrings.OFFSETS)
    done = 0
    while done < count and at + 8 <= size:
        length = load_i64(data + at)
        if length < 0 or length > size - at - 8:
            break
        store_i64(offsets + 8 * done, at)
        at += 8 + length
        done += 1
    store_i64(offsets + 8 * done, at)
    store_i64(argument(args, WalkStrings.N_WALKED), done)
