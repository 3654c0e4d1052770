from __future__ import annotations

import os
import struct

import numpy as np
import pytest
from glmq_kernels.errors import GlmqError
from glmq_kernels.formats.tensor_types import TENSOR_TYPES

from glmq.gguf import GGUFError, open_gguf
from glmq.gguf.refused_types import PRIVATE_TYPES, WITHDRAWN_TYPES

from .gguf_files import (
    ARRAY,
    BOOL,
    F32,
    FLOAT32,
    Q4_0,
    Q4_K,
    STRING,
    UINT8,
    UINT32,
    UINT64,
    array,
    gguf_bytes,
    key,
    string,
    tensor,
)

HUGE = (1 << 64) - 1


def refusal(tmp_path, content: bytes) -> str:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(GGUFError) as error:
        open_gguf(path)
    message = str(error.value)
    assert isinstance(error.value, GlmqError)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def uint32(value: int) -> bytes:
    return struct.pack("<I", value)


def one(value_type: int, value: bytes) -> bytes:
    return gguf_bytes([key("k", value_type, value)])


NOT_GGUF = {
    "empty": (b"", "an empty file; download it again"),
    "Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "web page": (b"\n<!DOCTYPE html><html></html>", "a web page"),
    "error of a bucket": (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "a web page"),
    "PyTorch checkpoint": (b"PK\x03\x04" + bytes(60), "PyTorch"),
    "safetensors": (struct.pack("<Q", 20) + b'{"a": {}}' + bytes(20), "glmq convert"),
    "gzip": (b"\x1f\x8b\x08" + bytes(60), "gzip"),
    "GGJT": (b"tjgg" + bytes(60), "GGJT"),
    "unfinished download": (bytes(4096), "did not finish"),
    "anything else": (b"Call me Ishmael.", "not a GGUF file"),
    "three bytes": (b"GGU", "not a GGUF file"),
}

VERSIONS = {
    "version 1": (gguf_bytes(version=1), "version 1"),
    "version 4": (gguf_bytes(version=4), "version 4 is not known"),
    "version 0": (gguf_bytes(version=0), "version 0 is not known"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
}

METADATA = {
    "only the magic": (b"GGUF", "the header runs past the end"),
    "half a header": (gguf_bytes()[:20], "the header runs past the end"),
    "too many keys for the file": (gguf_bytes(n_keys=1000), "claims 1000 metadata keys"),
    "keys without sense": (gguf_bytes(n_keys=HUGE), f"claims {HUGE} metadata keys"),
    "a key longer than the file": (gguf_bytes([uint32(100) + bytes(4) + b"short" * 3]), "runs past the end"),
    "a key without sense": (
        gguf_bytes([struct.pack("<Q", HUGE) + bytes(40)]),
        f"metadata key 0 claims {HUGE} bytes",
    ),
    "a key that is not text": (gguf_bytes([key(b"\xff\xfe", UINT8, b"\1")]), "metadata key 0 is not a name"),
    "a key without a name": (gguf_bytes([key("", UINT8, b"\1")]), "metadata key 0 is not a name"),
    "a key twice": (gguf_bytes([key("k", UINT8, b"\1")] * 2), "'k' is there twice"),
    "an unknown value type": (one(13, bytes(64)), "'k' has the unknown type 13"),
    "a value cut short": (one(UINT64, bytes(8))[: 24 + 8 + 1 + 4 + 3], "the value of 'k' runs past the end"),
    "a text longer than the file": (one(STRING, struct.pack("<Q", 5000) + b"text"), "runs past the end"),
    "a text without sense": (one(STRING, struct.pack("<Q", HUGE)), f"claims {HUGE} bytes"),
    "unknown elements": (one(ARRAY, array(77, 1, bytes(8))), "elements of the unknown type 77"),
    "arrays in an array": (one(ARRAY, array(ARRAY, 1, array(UINT8, 1, b"\1"))), "an array of arrays"),
    "numbers past the end": (one(ARRAY, array(FLOAT32, 1000, bytes(8))), "runs past the end"),
    "elements without sense": (one(ARRAY, array(BOOL, HUGE, bytes(8))), f"claims {HUGE} elements"),
    "elements whose bytes overflow": (one(ARRAY, array(FLOAT32, 1 << 62, bytes(8))), "elements"),
    "more strings than bytes": (one(ARRAY, array(STRING, 1 << 20, bytes(64))), "claims 1048576 strings"),
    "strings without sense": (one(ARRAY, array(STRING, HUGE, bytes(64))), f"claims {HUGE} elements"),
    "a string past the end": (
        one(ARRAY, array(STRING, 2, string("a") + struct.pack("<Q", 1000) + bytes(99))),
        "'k' runs past the end",
    ),
    "a string of negative length": (
        one(ARRAY, array(STRING, 2, string("a") + struct.pack("<q", -9) + bytes(99))),
        "'k' runs past the end",
    ),
    "an alignment of zero": (gguf_bytes([key("general.alignment", UINT32, uint32(0))]), "alignment is 0"),
    "an odd alignment": (gguf_bytes([key("general.alignment", UINT32, uint32(48))]), "alignment is 48"),
    "an absurd alignment": (
        gguf_bytes([key("general.alignment", UINT32, uint32(1 << 31))]),
        f"alignment is {1 << 31}",
    ),
    "an alignment in words": (
        gguf_bytes([key("general.alignment", STRING, string("32"))]),
        "general.alignment must be an integer",
    ),
}

TENSORS = {
    "too many tensors for the file": (gguf_bytes(n_tensors=3), "claims 3 tensors"),
    "tensors without sense": (gguf_bytes(n_tensors=HUGE), f"claims {HUGE} tensors"),
    "a tensor list cut short": (
        gguf_bytes([], [tensor("a" * 40), tensor("b")])[: 24 + 72 + 30],
        "runs past the end",
    ),
    "a name that is not text": (
        gguf_bytes([], [tensor(b"\xff\xfe")]),
        "tensor 0 is not a name",
    ),
    "five dimensions": (gguf_bytes([], [tensor("a", (1,) * 5)], bytes(32)), "'a' claims 5 dimensions"),
    "dimensions without sense": (
        gguf_bytes([], [string("a") + uint32(0xFFFFFFFF) + bytes(40)]),
        f"'a' claims {0xFFFFFFFF} dimensions",
    ),
    "an empty tensor": (gguf_bytes([], [tensor("a", (4, 0))], bytes(32)), "'a' has no elements"),
    "half a block in a row": (gguf_bytes([], [tensor("a", (48, 2), Q4_0)], bytes(999)), "of 32"),
    "half a super-block in a row": (gguf_bytes([], [tensor("a", (128, 4), Q4_K)], bytes(999)), "of 256"),
    "sizes whose product overflows": (
        gguf_bytes([], [tensor("a", (1 << 32, 1 << 32, 4))], bytes(64)),
        "the file ends at",
    ),
    "a tensor past the end": (gguf_bytes([], [tensor("a", (9,))], bytes(32)), "'a' should end at byte"),
    "an offset past the end": (gguf_bytes([], [tensor("a", offset=1 << 40)], bytes(32)), "'a' should end at"),
    "the largest offset": (gguf_bytes([], [tensor("a", offset=HUGE - 31)], bytes(32)), "'a' should end at"),
    "a crooked offset": (gguf_bytes([], [tensor("a", offset=4)], bytes(32)), "'a' starts at 4"),
    "a tensor twice": (
        gguf_bytes([], [tensor("a"), tensor("a", offset=32)], bytes(64)),
        "'a' is there twice",
    ),
    "tensors at the same place": (gguf_bytes([], [tensor("a"), tensor("b")], bytes(64)), "overlap"),
    "overlap with one that is not next in the list": (
        gguf_bytes([], [tensor("a", (20,)), tensor("b", offset=96), tensor("c", offset=64)], bytes(128)),
        "'a' and 'c' overlap",
    ),
}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(*case, id=name)
        for group in (NOT_GGUF, VERSIONS, METADATA, TENSORS)
        for name, case in group.items()
    ],
)
def test_refused(tmp_path, content, expected):
    assert expected in refusal(tmp_path, content)


@pytest.mark.parametrize("number", [*PRIVATE_TYPES, *WITHDRAWN_TYPES])
def test_types_of_other_engines_are_refused_by_name_with_a_way_out(tmp_path, number):
    message = refusal(tmp_path, gguf_bytes([], [tensor("ffn", (256,), number)], bytes(4096)))
    assert f"tensor 'ffn' has the type {(PRIVATE_TYPES | WITHDRAWN_TYPES)[number]}, which" in message
    assert "llama-quantize" in message


@pytest.mark.parametrize("number", [43, 96, 1000, 0xFFFFFFFF])
def test_unknown_types_are_refused_by_number(tmp_path, number):
    message = refusal(tmp_path, gguf_bytes([], [tensor("ffn", (256,), number)], bytes(4096)))
    assert f"tensor 'ffn' has the unknown type {number}" in message


@pytest.mark.parametrize("known", TENSOR_TYPES.values(), ids=TENSOR_TYPES)
def test_every_standard_type_is_read(tmp_path, known):
    path = tmp_path / "model.gguf"
    n_bytes = 2 * known.row_bytes(256)
    path.write_bytes(gguf_bytes([], [tensor("ffn", (256, 2), known.number)], bytes(n_bytes)))
    with open_gguf(path) as file:
        assert file.tensor("ffn").type == known.name
        assert file.data("ffn").shape == (n_bytes,)


def test_names_cannot_steer_the_terminal(tmp_path):
    message = refusal(tmp_path, gguf_bytes([key("\x1b[2J", 99, b"")], data=bytes(64)))
    assert "\x1b" not in message


def test_nothing_there(tmp_path):
    with pytest.raises(GGUFError, match=r"nothing\.gguf: no such file"):
        open_gguf(tmp_path / "nothing.gguf")


def test_nothing_there_but_others_beside_it(tmp_path):
    (tmp_path / "model-Q4_0.gguf").write_bytes(b"")
    with pytest.raises(GGUFError, match=r"no such file; that folder holds model-Q4_0\.gguf"):
        open_gguf(tmp_path / "model.gguf")


def test_a_folder_with_a_checkpoint(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(GGUFError, match="glmq convert"):
        open_gguf(tmp_path)


def test_a_folder_with_models(tmp_path):
    for name in "abcde":
        (tmp_path / f"{name}.gguf").write_bytes(b"")
    with pytest.raises(
        GGUFError, match=r"a folder; name the file in it: a\.gguf, b\.gguf, c\.gguf and 2 more"
    ):
        open_gguf(tmp_path)


def test_an_empty_folder(tmp_path):
    with pytest.raises(GGUFError, match="a folder without GGUF files"):
        open_gguf(tmp_path)


def test_a_path_through_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(GGUFError, match="cannot be read"):
        open_gguf(tmp_path / "file" / "model.gguf")


def test_a_path_that_no_system_has():
    with pytest.raises(GGUFError, match="cannot be read"):
        open_gguf("a\0b.gguf")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(GGUFError, match="a pipe"):
        open_gguf(tmp_path / "pipe.gguf")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything"
)
def test_a_file_without_permission(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_bytes())
    path.chmod(0)
    with pytest.raises(GGUFError, match="cannot be read"):
        open_gguf(path)


def test_values_that_are_not_text_are_shown_as_well_as_possible(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_bytes([key("k", STRING, string(b"caf\xe9"))], [tensor(type_number=F32)], bytes(16)))
    with open_gguf(path) as file:
        assert file.text("k") == "caf\ufffd"
        assert np.all(file.data("a") == 0)
