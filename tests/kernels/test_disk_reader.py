"""Reading parts of files in the background."""

from __future__ import annotations

import ctypes
import errno
import gc
import threading
import weakref

import numpy as np
import pytest
from glmq_kernels.arrays import address_of
from glmq_kernels.disk_reads.disk_reader import (
    ALIGNMENT,
    DirectFile,
    DiskReader,
    Part,
    aligned_memory,
    check,
    room_for,
)
from glmq_kernels.disk_reads.reader_state import DROPPED, REQUEST_BYTES, REQUEST_RESULT

SIZE = 300_001
FULFIL = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


@pytest.fixture
def content():
    return np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)


@pytest.fixture
def file(tmp_path, content):
    content.tofile(tmp_path / "bytes")
    file = DirectFile(tmp_path / "bytes")
    yield file
    file.close()


@pytest.fixture
def reader():
    reader = DiskReader(n_threads=3)
    yield reader
    reader.close()


class Held:
    """Stands in for the disk: requests wait until they are let go, and are done in the order they came."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self.go = threading.Semaphore(0)
        self.function = FULFIL(self._fulfil)

    @property
    def address(self) -> int:
        return ctypes.cast(self.function, ctypes.c_void_p).value

    def _fulfil(self, request, thread, threads):
        slots = (ctypes.c_int64 * 8).from_address(request)
        self.began.append(request)
        self.go.acquire()
        slots[REQUEST_RESULT // 8] = slots[REQUEST_BYTES // 8]


def read(reader, file, offset, n_bytes):
    """The bytes of a part, and the request."""
    memory = aligned_memory(room_for(n_bytes))
    (request,) = reader.post([(Part(file, offset, n_bytes), address_of(memory))])
    reader.await_result(request)
    start = request.address - address_of(memory)
    return memory[start : start + n_bytes], request


@pytest.mark.parametrize(
    ("offset", "n_bytes"),
    [(0, SIZE), (0, 1), (ALIGNMENT, ALIGNMENT), (ALIGNMENT - 1, 2), (123, 77_777), (SIZE - 5, 5)],
)
def test_any_part_of_a_file_comes_to_memory(reader, file, content, offset, n_bytes):
    found, request = read(reader, file, offset, n_bytes)
    assert reader.result(request) == n_bytes
    np.testing.assert_array_equal(found, content[offset : offset + n_bytes])
    check(request, n_bytes)


def test_a_file_system_without_direct_reads_is_read_plainly(monkeypatch, reader, tmp_path, file, content):
    def refuse(*arguments):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("os.preadv", refuse)
    plain = DirectFile(tmp_path / "bytes")
    assert not plain.is_direct
    found, _ = read(reader, plain, 5000, 100)
    plain.close()
    np.testing.assert_array_equal(found, content[5000:5100])


def test_a_part_beyond_the_end_says_so(reader, file):
    _, request = read(reader, file, SIZE - 10, 20)
    assert reader.result(request) == 10
    with pytest.raises(OSError, match="file ends"):
        check(request, reader.result(request))


def test_an_error_of_the_system_is_told(reader, file, tmp_path):
    broken = DirectFile(tmp_path / "bytes")
    handle, broken.handle = broken.handle, 99_999
    _, request = read(reader, broken, 0, 100)
    broken.handle = handle
    broken.close()
    assert reader.result(request) == -errno.EBADF
    with pytest.raises(OSError, match="descriptor"):
        check(request, reader.result(request))


def test_many_parts_arrive_each_in_its_place(reader, file, content):
    rng = np.random.default_rng(1)
    places = [(int(offset), int(size)) for offset, size in rng.integers(1, SIZE // 2, (200, 2))]
    memories = [aligned_memory(room_for(size)) for _, size in places]
    parts = [(Part(file, *place), address_of(memory)) for place, memory in zip(places, memories, strict=True)]
    asked = reader.post(parts)
    for request in asked:
        reader.await_result(request)
    for request, memory, (offset, size) in zip(asked, memories, places, strict=True):
        start = request.address - address_of(memory)
        np.testing.assert_array_equal(memory[start : start + size], content[offset : offset + size])


def test_memory_to_read_into_lives_until_the_threads_end(reader):
    memory = aligned_memory(100)
    kept = weakref.ref(memory)
    reader.keep(memory)
    del memory
    assert kept() is not None
    reader.close()
    gc.collect()
    assert kept() is None


def test_draining_waits_for_what_is_read_and_forgets_all(file):
    disk = Held()
    reader = DiskReader(n_threads=1, read=disk.address)
    memory = aligned_memory(room_for(100))
    part = [(Part(file, 0, 100), address_of(memory))]
    (urgent,) = reader.post(part)
    (idle,) = reader.post(part, idle=True)
    threading.Timer(0.05, disk.go.release).start()
    reader.drain()
    assert reader.result(urgent) == 100
    assert reader.result(idle) == DROPPED
    reader.close()


def test_idle_requests_wait_for_urgent_ones_and_can_be_taken_back(file):
    disk = Held()
    reader = DiskReader(n_threads=2, read=disk.address)
    memory = aligned_memory(room_for(100))
    part = [(Part(file, 0, 100), address_of(memory))]
    (urgent,) = reader.post(part)
    idle = reader.post(part * 2, idle=True)
    while len(disk.began) < 1:
        pass
    assert len(disk.began) == 1, "the second thread must leave idle requests alone"
    disk.go.release()
    reader.await_result(urgent)
    while len(disk.began) < 3:
        pass
    (late,) = reader.post(part, idle=True)
    reader.drop_idle()
    assert reader.result(late) == DROPPED
    for _ in range(2):
        disk.go.release()
    for request in idle:
        reader.await_result(request)
        assert reader.result(request) == 100
    reader.close()
