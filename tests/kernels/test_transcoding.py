"""Low-bit weights turned into nibbles: the same values, in every product."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from glmq_kernels.arrays import zeros
from glmq_kernels.formats.tensor_types import KERNEL_TYPES, MATRIX_TYPES, TRANSCODED_TYPES
from glmq_kernels.formats.transcoding import transcode
from glmq_kernels.formats.unpack import unpacking_of
from glmq_kernels.ops.embedding.dequantized_rows import dequantize_rows

from .blocks import HALF_FIELDS, expected_product, random_weights
from .test_matmul import assert_close, run_matmul

OFTEN = ("IQ3_S",)
"""What is tested each time; the other types, with fewer values and groups of 16, are for slow tests."""

TYPES = [
    pytest.param(name, id=name.lower(), marks=() if name in OFTEN else pytest.mark.slow)
    for name in TRANSCODED_TYPES
]


def transcoded(weights, type_name):
    """Rows of blocks, uint8 (rows, row bytes), in their new form."""
    n_blocks = weights.shape[1] // KERNEL_TYPES[type_name].block_bytes
    out = zeros((len(weights), n_blocks * TRANSCODED_TYPES[type_name].block_bytes), np.uint8)
    transcode(np.ascontiguousarray(weights), type_name, out)
    return out


def extreme_weights(rng, type_name):
    """Blocks of equal bytes, with the least scales and the largest, and 0."""
    rows = random_weights(rng, 9, 256, type_name)
    fields = [at + i for at in HALF_FIELDS[type_name] for i in range(2)]
    if type_name == "IQ1_M":
        fields = [49, 51, 53, 55]  # a float16 in four pieces
    others = np.setdiff1d(np.arange(rows.shape[1]), fields)
    rows[:, others] = np.array([0, 255, 0x55, 0xAA, 0x0F, 0xF0, 1, 128, 127], np.uint8)[:, None]
    for row, scale in zip(rows, np.array([6e-8, -6e-5, 60000, -60000, 0], np.float16), strict=False):
        if type_name == "IQ1_M":
            bits = int(scale.view(np.uint16))
            row[fields] = [(bits >> 4 * i & 15) << 4 | row[field] & 15 for i, field in enumerate(fields)]
        else:
            row[fields] = scale.reshape(1).view(np.uint8)
    return rows


@pytest.mark.parametrize("type_name", TYPES)
def test_values_stay_to_the_last_bit(type_name):
    rng = np.random.default_rng(0)
    rows = np.concatenate([random_weights(rng, 40, 256, type_name), extreme_weights(rng, type_name)])
    expected = gguf.quants.dequantize(rows, gguf.GGMLQuantizationType[type_name])
    found = dequantize_rows(transcoded(rows, type_name), TRANSCODED_TYPES[type_name].name)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("type_name", TYPES)
def test_products_are_those_of_the_type(thread_pool, type_name):
    """Of one token, of several in the row form, and of many in panels."""
    check_products(thread_pool, type_name)


@pytest.mark.slow
@pytest.mark.parametrize("type_name", TYPES)
def test_products_on_every_level(thread_pool, any_isa, type_name):
    check_products(thread_pool, type_name)
    check_products(thread_pool, type_name, "f32")


def check_products(thread_pool, type_name, activations="int8"):
    rng = np.random.default_rng(0)
    weights = random_weights(rng, 45, 768, type_name)
    new, new_type = transcoded(weights, type_name), TRANSCODED_TYPES[type_name].name
    for n_tokens in (1, 3, 20):
        x = rng.standard_normal((n_tokens, 768)).astype(np.float32)
        if activations == "int8":
            expected = expected_product(x, weights, type_name)
        else:
            expected = x @ gguf.quants.dequantize(weights, gguf.GGMLQuantizationType[type_name]).T
        assert_close(run_matmul(thread_pool, x, new, new_type, activations=activations), expected)


def test_sizes_are_those_that_are_told():
    for name, kind in TRANSCODED_TYPES.items():
        assert (kind.block, kind.block_bytes) == (256, unpacking_of(kind.name).BYTES), name
        assert MATRIX_TYPES[kind.name] is kind


def test_bytes_that_are_no_blocks_are_refused():
    for n_bytes, n_new in ((109, 140), (110, 139), (220, 140)):
        with pytest.raises(ValueError, match="do not become"):
            transcode(zeros(n_bytes, np.uint8), "IQ3_S", zeros(n_new, np.uint8))
