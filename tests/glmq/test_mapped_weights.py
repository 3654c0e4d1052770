"""Weights are used where they are mapped, up to the file's last byte."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

import glmq

from .gguf_edits import read_parts
from .gguf_files import STRING, string
from .small_models import write_glm4moe, write_llama


def with_description(parts, length):
    """The same model with a text of so many characters, which moves what follows."""
    parts = parts.copy()
    parts.keys["general.description"] = STRING, string(length * "x")
    return parts


def write_up_to_a_page(parts, path):
    """The same model in a file that ends where its last tensor and a page of memory end."""
    last = parts.tensors.pop("token_embd.weight")
    parts.tensors["token_embd.weight"] = last  # in the order of the file the last
    assert last[2].size % 32 == 0
    missing = -len(with_description(parts, 0).to_bytes()) % mmap.PAGESIZE
    parts = with_description(parts, missing)
    content = parts.to_bytes()
    assert len(content) % mmap.PAGESIZE == 0
    assert content.endswith(last[2].tobytes())
    path.write_bytes(content)


@pytest.mark.parametrize("type_name", ("F32", "F16", "Q4_0", "Q6_K", "Q8_0"))
@pytest.mark.parametrize("write", (write_glm4moe, write_llama))
def test_a_file_that_ends_with_a_page(tmp_path, write, type_name):
    usual, aligned = tmp_path / "usual.gguf", tmp_path / "aligned.gguf"
    write(usual, type_name)
    parts = read_parts(usual)
    del parts.tensors["output.weight"]  # so that products read the embedding's last row too
    usual.write_bytes(parts.to_bytes())
    write_up_to_a_page(parts, aligned)
    tokens = [319, 0, 5, 7, 11, 319]
    found = []
    for path in (usual, aligned):
        with glmq.load(path, n_ctx=64, n_threads=2) as model:
            found.append([model.logits(tokens[:n]) for n in (1, 3, 6)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
