"""Which files of a repository a TAG means."""

from __future__ import annotations

import pytest
from glmq_kernels.errors import GlmqError

from glmq.hub.model_choice import RepoFile, choose, companion, models_among

UNSLOTH = (
    "BF16/GLM-4.5-Air-BF16-00001-of-00005.gguf",
    *(f"Q4_K_M/GLM-4.5-Air-Q4_K_M-0000{i}-of-00002.gguf" for i in (1, 2)),
    "GLM-4.5-Air-Q2_K.gguf",
    "GLM-4.5-Air-Q3_K_S.gguf",
    "GLM-4.5-Air-IQ4_XS.gguf",
    "GLM-4.5-Air-UD-Q2_K_XL.gguf",
    "UD-Q3_K_XL/GLM-4.5-Air-UD-Q3_K_XL-00001-of-00001.gguf",
    "mtp-GLM-4.5-Air-Q8_0.gguf",
    "mmproj-F16.gguf",
    "imatrix_unsloth.gguf",
    "config.json",
    "README.md",
)


def files(*paths):
    return [RepoFile(path, 10 * i + 1_000_000_000) for i, path in enumerate(paths)]


def chosen(tag, *paths):
    return [file.path for file in choose("o/r", files(*(paths or UNSLOTH)), tag).files]


def test_models_have_the_types_that_their_names_tell():
    tags = [(model.tag, len(model.files), model.n_parts) for model in models_among(files(*UNSLOTH))]
    assert tags == [
        ("BF16", 1, 5), ("IQ4_XS", 1, 1), ("Q2_K", 1, 1), ("Q3_K_S", 1, 1), ("UD-Q2_K_XL", 1, 1),
        ("Q4_K_M", 2, 2), ("UD-Q3_K_XL", 1, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tag", "path"),
    [
        ("Q2_K", "GLM-4.5-Air-Q2_K.gguf"),
        ("q2_k", "GLM-4.5-Air-Q2_K.gguf"),
        ("Q2_K_XL", "GLM-4.5-Air-UD-Q2_K_XL.gguf"),
        ("UD-Q3_K_XL", "UD-Q3_K_XL/GLM-4.5-Air-UD-Q3_K_XL-00001-of-00001.gguf"),
        ("IQ4_XS", "GLM-4.5-Air-IQ4_XS.gguf"),
        ("iq4.*", "GLM-4.5-Air-IQ4_XS.gguf"),
        ("GLM-4.5-Air-Q3_K_S.gguf", "GLM-4.5-Air-Q3_K_S.gguf"),
    ],
)
def test_a_tag_means_the_file_that_has_it(tag, path):
    assert chosen(tag) == [path]


def test_a_tag_that_another_ends_with_means_its_own_file():
    assert chosen("Q4_0", "a-IQ4_0.gguf", "a-Q4_0.gguf") == ["a-Q4_0.gguf"]


def test_of_a_split_model_all_parts_come_in_order():
    assert chosen("Q4_K_M") == [f"Q4_K_M/GLM-4.5-Air-Q4_K_M-0000{i}-of-00002.gguf" for i in (1, 2)]


def test_without_a_tag_it_is_q4_k_m_then_q8_0_then_the_first():
    assert "Q4_K_M" in chosen(None)[0]
    assert chosen(None, "x-Q8_0.gguf", "x-BF16.gguf") == ["x-Q8_0.gguf"]
    assert chosen(None, "x-Q6_K.gguf", "x-Q5_0.gguf") == ["x-Q5_0.gguf"]


def test_one_file_needs_no_type_in_its_name():
    assert chosen(None, "model.gguf") == ["model.gguf"]
    assert models_among(files("model.gguf"))[0].tag == "model"


def test_a_wrong_tag_is_told_with_what_there_is():
    with pytest.raises(GlmqError, match=r"o/r has no Q9_X; it has .*Q2_K \(1.0 GB\), .*Q4_K_M \(2.0 GB\)"):
        chosen("Q9_X")


def test_models_without_all_their_parts_are_refused():
    with pytest.raises(GlmqError, match="1 of the 5 parts of BF16"):
        chosen("BF16")


def test_repositories_without_models_are_refused():
    with pytest.raises(GlmqError, match="holds no GGUF model, but a checkpoint"):
        chosen(None, "model.safetensors")
    with pytest.raises(GlmqError, match="holds no GGUF model, but other files"):
        chosen(None, "mmproj-F16.gguf")


def test_a_tag_that_is_no_expression_is_taken_as_it_is():
    with pytest.raises(GlmqError, match=r"has no Q4\(; it has"):
        chosen("Q4(")


def test_companions_have_the_nearest_bits():
    listed = files(
        "mmproj-BF16.gguf", "mmproj-Q8_0.gguf", "mtp-x-Q8_0.gguf", "mtp-x-Q4_0.gguf", "x-Q4_K_M.gguf"
    )
    [model] = models_among(listed)
    assert companion(listed, "mmproj", model).path == "mmproj-Q8_0.gguf"
    assert companion(listed, "mtp", model).path == "mtp-x-Q4_0.gguf"
    assert companion(files("x-Q4_K_M.gguf"), "mtp", model) is None
