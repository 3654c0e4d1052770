"""Sequences that grow, share, copy and lose pages at random always hold what was written for their tokens.

Also where pages go to the disk and come back meanwhile.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from glmq.errors import ContextFull, OutOfPages
from glmq.kv_cache.page_pool import PagePool
from glmq.kv_cache.prefix_tree import PrefixTree
from glmq.kv_cache.sequence import Sequence

from .numbered_pages import PAGE_BYTES, SHAPE, P, assert_holds_its_tokens, evaluate
from .pages_on_disk import OnDemand, check_places, tree_on_disk

N_PAGES = 9
MOST_SEQUENCES = 6


def text(n, fork_at, end):
    """A text of `n` tokens; those with the same `end` agree, the others as far as `fork_at`."""
    common, own = random.Random(0), random.Random(end)
    return [common.randrange(2) for _ in range(min(n, fork_at))] + [
        own.randrange(2) for _ in range(n - fork_at)
    ]


lengths = st.one_of(st.integers(0, 6 * P), st.sampled_from((1, P - 1, P, P + 1, 2 * P, 3 * P)))
texts = st.builds(text, lengths, st.sampled_from((0, 1, 20, P, 70, 2 * P, 150)), st.integers(0, 1))


class Pages(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.tree = self.new_tree()
        self.pool = self.tree.pool
        self.sequences = [Sequence(self.tree) for _ in range(3)]

    def new_tree(self):
        return PrefixTree(PagePool(SHAPE, N_PAGES * PAGE_BYTES))

    def some(self, i):
        return self.sequences[i % len(self.sequences)]

    @precondition(lambda self: len(self.sequences) < MOST_SEQUENCES)
    @rule()
    def begin(self):
        self.sequences.append(Sequence(self.tree))

    @precondition(lambda self: self.sequences)
    @rule(i=st.integers(0, 5), prompt=texts, last_bit=st.integers(0, 1))
    def answer_without_looking(self, i, prompt, last_bit):
        """Evaluate what others may have evaluated too, perhaps to other last bits."""
        sequence = self.some(i)
        sequence.rewind(0)
        self.go_on(sequence, prompt, last_bit=last_bit)

    @precondition(lambda self: self.sequences)
    @rule(i=st.integers(0, 5), prompt=texts, publish=st.booleans())
    def answer(self, i, prompt, publish):
        """What the tree has of a prompt, and the rest of it."""
        sequence = self.some(i)
        n = sequence.adopt(prompt)
        assert sequence.tokens == prompt[:n]
        assert_holds_its_tokens(sequence)
        self.go_on(sequence, prompt[n:])
        if publish:
            sequence.publish()

    @precondition(lambda self: self.sequences)
    @rule(
        i=st.integers(0, 5),
        tokens=st.lists(st.integers(0, 1), min_size=1, max_size=9),
        kept=st.integers(0, 9),
    )
    def draft(self, i, tokens, kept):
        """Some tokens of which not all are accepted."""
        self.go_on(self.some(i), tokens, kept)

    def go_on(self, sequence, tokens, n_accepted=None, last_bit=0):
        before, n_new = list(sequence.tokens), sequence.n_new_pages(len(tokens))
        pages, available = list(sequence.pages), self.pool.n_available
        try:
            evaluate(sequence, tokens, n_accepted, last_bit)
        except (OutOfPages, ContextFull):
            assert available < n_new
            assert (sequence.tokens, sequence.pages) == (before, pages)

    @precondition(lambda self: self.sequences)
    @rule(i=st.integers(0, 5), partly=st.booleans(), exact=st.booleans())
    def publish(self, i, partly, exact):
        sequence = self.some(i)
        before = [page.bytes.copy() for page in sequence.pages]
        sequence.publish(partly=partly, exact=exact)
        if exact:
            assert all(map(np.array_equal, before, (page.bytes for page in sequence.pages)))

    @precondition(lambda self: self.sequences)
    @rule(i=st.integers(0, 5), share=st.floats(0, 1), unpublish=st.booleans())
    def rewind(self, i, share, unpublish):
        sequence = self.some(i)
        n = round(share * len(sequence.tokens))
        sequence.rewind(n, unpublish=unpublish)
        assert len(sequence.pages) == -(-n // P)

    @precondition(lambda self: 0 < len(self.sequences) < MOST_SEQUENCES)
    @rule(i=st.integers(0, 5))
    def fork(self, i):
        self.sequences.append(self.some(i).fork())

    @precondition(lambda self: self.sequences)
    @rule(i=st.integers(0, 5), publish=st.booleans())
    def release(self, i, publish):
        sequence = self.sequences.pop(i % len(self.sequences))
        sequence.release(publish=publish)
        assert (sequence.tokens, sequence.pages) == ([], [])

    @precondition(lambda self: self.sequences)
    @rule(i=st.integers(0, 5))
    def let_go_without_release(self, i):
        self.sequences.pop(i % len(self.sequences))

    @precondition(lambda self: self.tree.statistics().n_cached > N_PAGES // 2)
    @rule()
    def clear(self):
        with self.pool.lock:
            self.tree.clear()
        assert self.tree.statistics().n_cached == 0

    @invariant()
    def every_sequence_holds_what_was_written_for_its_tokens(self):
        for sequence in self.sequences:
            assert_holds_its_tokens(sequence)

    @invariant()
    def pages_are_counted_exactly_and_stay_under_the_limit(self):
        users = Counter(page for sequence in self.sequences for page in sequence.pages)
        assert all(page.n_users == n for page, n in users.items())
        kept = set(self.tree._nodes)
        assert all(page.is_kept == (page in kept) for page in {*users, *kept})
        counts = self.tree.statistics()
        assert counts.n_used == len(users)
        assert counts.n_idle == len(kept - set(users))
        assert counts.n_used + counts.n_idle <= N_PAGES
        assert counts.n_bytes <= N_PAGES * PAGE_BYTES

    def teardown(self):
        for sequence in self.sequences:
            sequence.release()
        assert self.pool.n_used == 0
        with self.pool.lock:
            self.tree.clear()
        assert (self.pool.n_idle, self.pool.n_bytes) == (0, 0)


TestPages = Pages.TestCase
TestPages.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


class PagesOnDisk(Pages):
    """With room for fewer pages on the disk than there are, so that some of these go too."""

    N_PLACES = 12

    def new_tree(self):
        self.folder = tempfile.TemporaryDirectory()
        return tree_on_disk(Path(self.folder.name), N_PAGES, self.N_PLACES, OnDemand)

    @rule(n=st.integers(1, N_PAGES))
    def write(self, n):
        for _ in range(n):
            self.tree.writer._write_one()

    @rule(n=st.integers(1, N_PAGES), writes=st.booleans())
    def want_memory(self, n, writes):
        """What is idle leaves the memory, and all of it goes to the disk before that, or some."""
        if writes:
            self.tree.writer.write_all()
        sequence = Sequence(self.tree)
        try:
            sequence.reserve(n * P)
        except OutOfPages:
            assert self.pool.n_available < n
        sequence.rewind(0)

    @precondition(lambda self: self.pool.n_available > 3)
    @rule(prompt=texts, share=st.floats(0, 1))
    def go_and_come_back(self, prompt, share):
        """What was evaluated leaves the memory, or a part of it, and is wanted again."""
        sequence = Sequence(self.tree)
        tokens = prompt[: P * self.pool.n_available]
        self.go_on(sequence, tokens[sequence.adopt(tokens) :])
        sequence.release()
        self.want_memory(round(share * self.pool.n_available), writes=True)
        self.answer_of_another(tokens)

    def answer_of_another(self, prompt):
        sequence = Sequence(self.tree)
        n = sequence.adopt(prompt)
        assert sequence.tokens == prompt[:n]
        assert_holds_its_tokens(sequence)
        sequence.release()

    @rule(prompt=texts, n=st.integers(0, 6), data=st.data())
    def change_while_pages_come_back(self, prompt, n, data):
        """Whatever is done to the tree between the moments at which a return holds the lock."""
        changes = data.draw(
            st.lists(st.sampled_from((self.write_all, self.forget_all, self.use_all)), max_size=n)
        )

        def goes_on():
            if changes:
                changes.pop()()
            return True

        sequence = Sequence(self.tree)
        n_held = sequence.adopt(prompt, goes_on=goes_on)
        assert sequence.tokens == prompt[:n_held]
        assert_holds_its_tokens(sequence)
        sequence.release()

    def write_all(self):
        self.tree.writer.write_all()

    def forget_all(self):
        with self.pool.lock:
            self.tree.clear()

    def use_all(self):
        self.want_memory(self.pool.n_available, writes=True)

    @rule(i=st.integers(0, 11))
    def damage(self, i):
        """A place on the disk holds other bytes."""
        self.tree.file.write(i, np.full(PAGE_BYTES, 0x55, np.uint8))

    @invariant()
    def every_node_has_a_page_or_a_place(self):
        with self.pool.lock:
            check_places(self.tree)

    def teardown(self):
        super().teardown()
        assert self.tree.file.n_taken == 0
        self.tree.close()
        self.folder.cleanup()


TestPagesOnDisk = pytest.mark.filterwarnings("ignore:pages of the KV cache")(PagesOnDisk.TestCase)
TestPagesOnDisk.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
