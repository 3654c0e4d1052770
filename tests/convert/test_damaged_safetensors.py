"""Headers of safetensors files that lie: they are refused, or what they say lies inside the file."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from glmq_convert.checkpoint import ITEM_BYTES, open_checkpoint
from glmq_kernels.errors import GlmqError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DATA = bytes(range(64))
SOUND = {
    "a.weight": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]},
    "b.weight": {"dtype": "BF16", "shape": [4, 4], "data_offsets": [32, 64]},
}

SIZES = st.one_of(
    st.integers(-2, 70),
    st.sampled_from([2**31, 2**32, 2**63, 2**64, 10**30, 1.0, True, None, "4", float("nan")]),
)
VALUES = st.one_of(
    SIZES,
    st.text(max_size=4),
    st.lists(SIZES, max_size=3),
    st.dictionaries(st.text(max_size=2), SIZES, max_size=2),
)
ENTRIES = st.one_of(
    VALUES,
    st.fixed_dictionaries(
        {},
        optional={
            "dtype": st.one_of(st.sampled_from([*ITEM_BYTES, "F4", "F8_E9M9", "f32", ""]), VALUES),
            "shape": st.one_of(st.lists(SIZES, max_size=4), VALUES),
            "data_offsets": st.one_of(st.lists(SIZES, min_size=2, max_size=2), VALUES),
        },
    ),
)
NAMES = st.one_of(
    st.sampled_from([*SOUND, "__metadata__"]), st.text(st.characters(exclude_categories=()), max_size=4)
)


def write(path, header, data=DATA, length=None):
    """A file of these parts; a length that is not the header's makes it a lie."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(raw) if length is None else length).to_bytes(8, "little") + raw + data)
    return path


def check(path):
    """Whatever is read lies in the file, and can be read; whatever is refused, is so in one line."""
    message = None
    try:
        checkpoint = open_checkpoint(path.parent, 1)
    except GlmqError as error:
        message = str(error)
    if message is not None:
        assert path.name in message
        assert message.isprintable()
        return
    size = path.stat().st_size
    for tensor in checkpoint.values():
        if tensor.dtype in ITEM_BYTES:
            assert tensor.offset + math.prod(tensor.shape) * ITEM_BYTES[tensor.dtype] <= size
        if tensor.dtype in ("F32", "BF16") and math.prod(tensor.shape):
            assert checkpoint.read_floats(tensor.name).size == math.prod(tensor.shape)


fuzz = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzz
@given(header=st.dictionaries(NAMES, ENTRIES, max_size=3))
def test_any_header(tmp_path, header):
    check(write(tmp_path / "model.safetensors", header))


@fuzz
@given(
    name=st.sampled_from(list(SOUND)),
    key=st.sampled_from(["dtype", "shape", "data_offsets"]),
    value=st.one_of(
        st.lists(st.integers(0, 80), min_size=2, max_size=2), st.sampled_from([*ITEM_BYTES]), VALUES
    ),
)
def test_one_field_that_lies(tmp_path, name, key, value):
    check(write(tmp_path / "model.safetensors", {**SOUND, name: {**SOUND[name], key: value}}))


@fuzz
@given(length=st.one_of(st.integers(0, 400), st.integers(0, 2**64 - 1)), n_data=st.integers(0, 80))
def test_lengths_that_lie(tmp_path, length, n_data):
    check(write(tmp_path / "model.safetensors", SOUND, bytes(n_data), length))


@fuzz
@given(content=st.binary(max_size=60))
def test_any_bytes(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    check(path)


@fuzz
@given(raw=st.binary(max_size=40))
def test_headers_that_are_no_json(tmp_path, raw):
    check(write(tmp_path / "model.safetensors", raw))


def test_a_sound_header_is_read(tmp_path):
    write(tmp_path / "model.safetensors", SOUND)
    checkpoint = open_checkpoint(tmp_path, 1)
    assert [(t.name, t.dtype, t.shape) for t in checkpoint.values()] == [
        ("a.weight", "F32", (2, 4)),
        ("b.weight", "BF16", (4, 4)),
    ]
    np.testing.assert_array_equal(checkpoint.read_floats("a.weight"), np.frombuffer(DATA[:32], np.float32))


ENTRY = '"a": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}'


@pytest.mark.parametrize(
    "raw",
    [
        f"{{{ENTRY}, {ENTRY}}}",
        '{"a": {"dtype": "F32", "shape": [16], "shape": [16], "data_offsets": [0, 64]}}',
        '{"a\\nb": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}}',
        '{"a": {"dtype": "F32", "shape": [15], "data_offsets": [0, 64]}}',
        '{"a": {"dtype": "I64", "shape": [16], "data_offsets": [0, 64]}}',
        '{"a": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]},'
        ' "b": {"dtype": "F32", "shape": [12], "data_offsets": [16, 64]}}',
        '{"a": {"dtype": "F32", "shape": [8], "data_offsets": [32, 64]}}',
        "[" * 100_000,
        "[]",
        "",
    ],
    ids=[
        "a tensor twice", "a field twice", "a name of two lines", "too small a shape", "too large a type",
        "overlapping", "a gap", "nested too deeply", "no object", "empty",
    ],
)  # fmt: skip
def test_a_damaged_header_is_named(tmp_path, raw):
    write(tmp_path / "model.safetensors", raw.encode())
    with pytest.raises(GlmqError, match=r"model\.safetensors is not a safetensors file or is damaged"):
        open_checkpoint(tmp_path, 1)
