"""What a caller chooses to have answers drafted by."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from glmq_kernels.errors import GlmqError

CHOICES = ("auto", "off", "lookup", "mtp")


@dataclass(frozen=True)
class DraftChoice:
    """lookup: whether texts are looked up. mtp: whether the model's layer for predicting several tokens is
    used; None where it is if there is one. file: of a draft model, or of such a layer alone.
    """

    lookup: bool = True
    mtp: bool | None = False
    file: Path | str | None = None


def draft_choice(draft: str | os.PathLike[str]) -> DraftChoice:
    """The choice that a text of `CHOICES`, or what a model's file is called, stands for. Raises GlmqError."""
    if draft == "auto":
        return DraftChoice(mtp=None)
    if draft == "off":
        return DraftChoice(lookup=False)
    if draft == "lookup":
        return DraftChoice()
    if draft == "mtp":
        return DraftChoice(lookup=False, mtp=True)
    if not draft:
        raise GlmqError(f"give what drafts: {', '.join(CHOICES)}, or the file of a model", setting="draft")
    return DraftChoice(file=draft if isinstance(draft, str) else Path(draft))
