"""Trees whose pages go to the disk, for tests."""

from __future__ import annotations

import time

from glmq.kv_cache.page_file import DiskRoom, PageFile
from glmq.kv_cache.page_pool import PagePool
from glmq.kv_cache.page_writer import PageWriter
from glmq.kv_cache.prefix_tree import PrefixTree
from glmq.kv_cache.sequence import Sequence

from .numbered_pages import PAGE_BYTES, SHAPE, P, assert_holds_its_tokens, evaluate

PLACE_BYTES = -(-PAGE_BYTES // 4096) * 4096
SECONDS = 20
"""After which something that is waited for will not come."""


class OnDemand(PageWriter):
    """Writes where a test says so, in the test's thread."""

    def wake(self):
        pass

    def wait_for_room(self, n, goes_on):
        goes_on()

    def _wants_to_write(self):
        return True


def tree_on_disk(folder, n_pages, n_places, writer=PageWriter):
    """A tree with memory and disk for so many pages."""
    file = PageFile(DiskRoom(n_places * PLACE_BYTES, folder), SHAPE)
    tree = PrefixTree(PagePool(SHAPE, n_pages * PAGE_BYTES), file)
    writer(tree, file)
    return tree


def eventually(holds):
    """Wait until something holds."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.002)


def check_places(tree):
    """Every node has a page or a place, what is in memory hangs on what is, and all is counted."""
    nodes, below = [], list(tree._root.children)
    while below:
        nodes.append(node := below.pop())
        below += node.children
    for node in nodes:
        in_memory = [child for child in node.children if child.page is not None]
        assert node.n_in_memory == len(in_memory)
        assert node.page is not None or (node.place is not None and not in_memory)
        assert node.page is None or node.page.is_written == (node.place is not None)
        assert all(child.parent is node for child in node.children)
    places = [node.place.number for node in nodes if node.place is not None]
    assert len(set(places)) == len(places) == tree.file.n_taken <= tree.file.max_places
    idle = [node for node in nodes if node.page is not None and not node.page.n_users]
    assert tree.pool.n_idle == len(idle)
    assert tree.pool.n_idle_written == sum(node.place is not None for node in idle)
    assert tree.n_on_disk == sum(node.page is None for node in nodes)
    assert set(tree._used_again) <= {
        node for node in nodes if node.page is not None and node.place is not None
    }


def leave(tree, tokens, last_bit=0):
    """Evaluate a text and let go of it."""
    sequence = Sequence(tree)
    n = sequence.adopt(tokens)
    sequence.wait_for_room(len(tokens) - n)
    evaluate(sequence, tokens[n:], last_bit=last_bit)
    sequence.release()


def send_to_disk(tree):
    """Have all memory wanted, so that what is idle leaves it."""
    sequence = Sequence(tree)
    n = tree.pool.max_pages * P
    sequence.wait_for_room(n)
    sequence.reserve(n)
    sequence.rewind(0)


def found(tree, tokens, **more):
    """How many tokens the tree has, wherever they are; what it has is compared."""
    sequence = Sequence(tree)
    n = sequence.adopt(tokens, **more)
    assert sequence.tokens == list(tokens[:n])
    assert_holds_its_tokens(sequence)
    eventually(lambda: not tree.writer._is_awake)
    with tree.pool.lock:
        check_places(tree)
    sequence.release()
    return n
