"""The file of results is sound whatever ends the program, and nothing else is overwritten."""

from __future__ import annotations

import resource

import pytest
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import FileExists
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glmq.batch_file.results import Found, ResultFile, result_line

IDS = [f"batch_req_{i:024}" for i in range(6)]


def result(i, text="Grüße\n\u2028", status=200):
    response = {"status_code": status, "request_id": "req_1", "body": {"text": text}}
    return {"id": IDS[i], "custom_id": f"r{i}", "response": response, "error": None}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out.jsonl"


def write(path, *results):
    path.write_bytes(b"".join(map(result_line, results)))


def opened(path, ids=IDS, **more):
    return ResultFile(path, ids, **more)


def test_results_are_found_again(path):
    file = opened(path)
    assert file.found == []
    file.append(result(0))
    file.append(result(1, status=400))
    file.close()
    file = opened(path)
    assert file.found == [Found(IDS[0], "r0", True), Found(IDS[1], "r1", False)]
    file.append(result(2))
    file.close()
    assert path.read_bytes() == b"".join(map(result_line, (result(0), result(1, status=400), result(2))))


WHOLE = b"".join(result_line(result(i)) for i in range(3))


@given(st.integers(0, len(WHOLE)), st.integers(0, 20))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_half_last_line_does_not_count(path, n_bytes, n_zeros):
    kept = WHOLE[:n_bytes]
    path.write_bytes(kept + (bytes(n_zeros) if kept.endswith(b"\n") or not kept else b""))
    file = opened(path)
    assert len(file.found) == kept.count(b"\n")
    file.append(result(4))
    file.close()
    whole = kept[: kept.rfind(b"\n") + 1]
    assert path.read_bytes() == whole + result_line(result(4))


@pytest.mark.parametrize(
    "content", (b"my notes", b"my notes\n", b'{"id": 1}\n', b'{"id":"other"}', b"[" * 99_999)
)
def test_a_file_that_is_something_else_stays_as_it_is(path, content):
    path.write_bytes(content)
    with pytest.raises(FileExists, match="does not hold results"):
        opened(path)
    assert path.read_bytes() == content


def test_results_of_other_requests_stay_as_they_are(path):
    write(path, result(0), result(1))
    before = path.read_bytes()
    with pytest.raises(FileExists, match='results of other requests, such as "r1"'):
        opened(path, IDS[:1])
    assert path.read_bytes() == before


def test_force_overwrites_what_is_something_else_and_keeps_what_fits(path):
    write(path, result(0))
    file = opened(path, IDS[1:], force=True)
    assert file.found == []
    file.append(result(1))
    file.close()
    file = opened(path, IDS[1:], force=True)
    assert [each.id for each in file.found] == [IDS[1]]
    file.close()


def test_one_program_at_a_time_writes_a_file(path):
    file = opened(path)
    with pytest.raises(GlmqError, match=r"is being written by (process \d+|another process)"):
        opened(path)
    file.close()
    opened(path).close()


def test_a_full_disk_is_told_in_a_line_and_takes_nothing(path):
    file = opened(path)
    file.append(result(0))
    file.append(result(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
    try:
        with pytest.raises(GlmqError, match="2 results are in it, and the same command goes on"):
            file.append(result(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    file.close()
    assert path.read_bytes() == result_line(result(0)) + result_line(result(1))


def test_a_new_file_without_results_goes_and_an_old_one_stays(path):
    opened(path).close()
    assert not path.exists()
    path.touch()
    opened(path).close()
    assert path.exists()


def test_where_no_file_can_be_is_told(tmp_path):
    with pytest.raises(GlmqError, match="there is no folder"):
        opened(tmp_path / "none" / "out.jsonl")
    with pytest.raises(GlmqError, match="it is a folder"):
        opened(tmp_path)
