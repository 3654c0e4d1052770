"""Names of models on the Hub, as users write them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(
    r"(?:hf://(?:models/)?|(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/)?"
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)"
    r"(?:@(?P<revision>[\w./-]+)|/(?:tree|blob|resolve)/(?P<branch>[\w.-]+)(?:/(?P<path>[^?#:]*))?(?:[?#][^:]*)?)?"
    r"/?(?::(?P<tag>[^:]+))?",
    re.ASCII,
)
_FILES = (".gguf", ".safetensors", ".json", ".jsonl", ".bin", ".part")
"""Endings of names of files, which no repository has: what ends so is the path of a file."""


@dataclass(frozen=True)
class HubName:
    """A model on the Hub.

    repo: owner/name. revision: a branch, a tag of the repository or a commit; None is its main branch.
    tag: which of its files, such as Q4_K_M or a file's name; None leaves it open.
    """

    repo: str
    revision: str | None = None
    tag: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return self.repo + revision + (f":{self.tag}" if self.tag else "")


def hub_name(text: str) -> HubName | None:
    """What a name such as `unsloth/GLM-4.5-Air-GGUF:Q4_K_M` says; None for what is none.

    Also owner/name@revision:TAG, and addresses of pages and files of huggingface.co.
    """
    found = _NAME.fullmatch(text)
    if found is None or found["repo"].lower().endswith(_FILES):
        return None
    if "--" in found["repo"] or ".." in found["repo"]:  # which the Hub does not allow
        return None
    tag = found["tag"] or (found["path"] or "").strip("/") or None
    return HubName(found["repo"], found["revision"] or found["branch"], tag)
