"""Pages whose contents tell which tokens they were written for, in place of keys and values."""

from __future__ import annotations

import gc
import random
import threading
from itertools import accumulate

import numpy as np
from glmq_kernels.ops.attention.cache_layout import POSITIONS_PER_PAGE, CacheShape

from glmq.kv_cache.sequence import Sequence

P = POSITIONS_PER_PAGE
SHAPE = CacheShape(n_layers=2, n_kv_heads=1, key_dim=2, value_dim=3, type="F32")
PAGE_BYTES = SHAPE.page_bytes


def text(n, seed=0):
    """So many random tokens, the same ones for the same seed."""
    chance = random.Random(seed)
    return [chance.randrange(1000) for _ in range(n)]


def numbers_of(tokens):
    """For each position a number that stands for all tokens up to it: int32 (n_tokens,)."""
    return np.array(
        list(accumulate(tokens, lambda so_far, token: (31 * so_far + token + 1) % 1_000_003, initial=7))[1:],
        np.int32,
    )


def evaluate(sequence, tokens, n_accepted=None, last_bit=0):
    """What a run does: room, keys and values of all tokens, of which the first `n_accepted` stay.

    last_bit: of the numbers, in which evaluations of the same tokens may differ.
    """
    sequence.reserve(len(tokens))
    written = 2 * numbers_of([*sequence.tokens, *tokens]) + last_bit
    for position in range(len(sequence.tokens), len(written)):
        keys, values = _parts(sequence.pages[position // P])
        place = position % P
        keys[:, place // 16, :, place % 16] = written[position]
        values[:, place] = -written[position]
    sequence.extend(tokens[:n_accepted])


def evaluated(tree, tokens, publish=True):
    """A sequence of a tree that holds these tokens."""
    sequence = Sequence(tree)
    evaluate(sequence, tokens)
    if publish:
        sequence.publish()
    return sequence


def assert_holds_its_tokens(sequence):
    """Every position of all layers is what was written for these tokens, as a kernel would read it.

    The last bit may be any.
    """
    expected = numbers_of(sequence.tokens)
    table = sequence.page_table[: len(sequence.pages)]
    assert table.tolist() == [page.address for page in sequence.pages]
    for i, page in enumerate(sequence.pages):
        here = expected[i * P : (i + 1) * P]
        keys, values = _parts(page)
        found = keys.swapaxes(2, 3).reshape(SHAPE.n_layers, P, -1)[:, : len(here)]
        assert (found // 2 == here[None, :, None]).all()
        assert (-values[:, : len(here)] // 2 == here[None, :, None]).all()


def use_in_threads(tree, n_rounds, most_pages, n_texts):
    """Grow, rewind and drop sequences of a tree at random in four threads, each with sequences of its own."""
    failures = []

    def use(seed):
        chance = random.Random(seed)
        for _ in range(n_rounds):
            sequence = Sequence(tree)
            tokens = text(chance.randrange(most_pages * P), seed=chance.randrange(n_texts))
            n = sequence.adopt(tokens)
            sequence.wait_for_room(len(tokens) - n)
            evaluate(sequence, tokens[n:])
            assert_holds_its_tokens(sequence)
            sequence.publish()
            sequence.rewind(chance.randint(0, len(tokens)))
            evaluate(sequence, text(chance.randrange(P), seed))
            assert_holds_its_tokens(sequence)
            if chance.random() < 0.7:
                sequence.release()

    def work(seed):
        try:
            use(seed)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    gc.collect()


def _parts(page):
    """Keys (n_layers, P / 16, key_dim, 16) and values (n_layers, P, value_dim)."""
    heads = page.bytes.view(np.int32).reshape(SHAPE.n_layers, -1)
    n_keys = P * SHAPE.key_dim
    return (
        heads[:, :n_keys].reshape(SHAPE.n_layers, -1, SHAPE.key_dim, 16),
        heads[:, n_keys:].reshape(SHAPE.n_layers, P, -1),
    )
