from __future__ import annotations

import pytest
from glmq_kernels.threads.thread_pool import ThreadPool


@pytest.fixture(autouse=True, scope="package")
def guard_pages():
    """All that kernels get ends at unreadable pages: what goes past an end ends the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLMQ_GUARD_PAGES", "1")
        yield


@pytest.fixture(scope="module")
def thread_pool():
    members = ThreadPool(2)
    yield members
    members.close()


@pytest.fixture
def notes(tmp_path):
    """A file of notes (`notes_on_disk.py`) that is there already."""
    path = tmp_path / "notes"
    path.write_bytes(b"notes: old")
    return path
