"""What users write for a model on the Hub."""

from __future__ import annotations

import pytest

from glmq.hub.names import HubName, hub_name

AIR = "unsloth/GLM-4.5-Air-GGUF"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (AIR, HubName(AIR)),
        (f"{AIR}:Q4_K_M", HubName(AIR, None, "Q4_K_M")),
        (f"{AIR}@v1.0:UD-Q2_K_XL", HubName(AIR, "v1.0", "UD-Q2_K_XL")),
        (f"{AIR}@refs/pr/3", HubName(AIR, "refs/pr/3")),
        (f"{AIR}:Q2_K/GLM-Q2_K-00001-of-00002.gguf", HubName(AIR, None, "Q2_K/GLM-Q2_K-00001-of-00002.gguf")),
        (f"hf.co/{AIR}:Q8_0", HubName(AIR, None, "Q8_0")),
        (f"hf://{AIR}", HubName(AIR)),
        (f"https://huggingface.co/{AIR}", HubName(AIR)),
        (f"https://huggingface.co/{AIR}/", HubName(AIR)),
        (f"https://huggingface.co/{AIR}/tree/main", HubName(AIR, "main")),
        (f"https://huggingface.co/{AIR}/blob/main/a/b.gguf", HubName(AIR, "main", "a/b.gguf")),
        (f"https://huggingface.co/{AIR}/resolve/main/b.gguf?download=true", HubName(AIR, "main", "b.gguf")),
    ],
)
def test_names(text, meant):
    assert hub_name(text) == meant


@pytest.mark.parametrize(
    "text",
    ["demo", "model.gguf", "models/model.gguf", "a/b/c", "/a/b", "./a/b", "../b", "~/b", "a/", "/b", "a//b",
     "", "a/b:", "a b/c", "a/..b", "a--b/c", "C:\\models\\x", "models/part.safetensors", "a/b.GGUF", "ä/b",
     "https://example.com/a/b"],
)  # fmt: skip
def test_paths_and_others_are_no_names(text):
    assert hub_name(text) is None


@pytest.mark.parametrize("text", [AIR, f"{AIR}:Q4_K_M", f"{AIR}@main:Q8_0"])
def test_a_name_is_shown_as_it_is_written(text):
    assert str(hub_name(text)) == text
