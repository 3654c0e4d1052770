"""The chat templates of a checkpoint, wherever transformers keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glmq_kernels.errors import GlmqError

from .json_fields import checked_text, errors_in, read_object, read_text, shown

DEFAULT = "default"


def chat_templates(folder: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """Templates by name, "default" being the one for chats; empty where the checkpoint has none.

    settings: the content of tokenizer_config.json. Files of their own (chat_template.jinja, those in
    additional_chat_templates) come before it, as in transformers.
    """
    with errors_in(folder / "tokenizer_config.json"):
        found = _templates(settings.get("chat_template"))
    older = folder / "chat_template.json"
    if older.is_file():
        content = read_object(older)
        with errors_in(older):
            found |= _templates(content.get("chat_template"))
    newer = folder / "chat_template.jinja"
    if newer.is_file():
        found[DEFAULT] = read_text(newer)
    for path in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        found[path.stem] = read_text(path)
    return found


def _templates(value: Any) -> dict[str, str]:
    """Of a field that holds one template, or a list of them with names."""
    if value is None:
        return {}
    if not isinstance(value, list):
        return {DEFAULT: checked_text(value, "chat_template")}
    found = {}
    for entry in value:
        if not isinstance(entry, dict):
            raise GlmqError(f"chat_template has the entry {shown(entry)}; it must have a name and a template")
        name = checked_text(entry.get("name"), "the name of a chat template")
        found[name] = checked_text(entry.get("template"), f"the chat template {shown(name)}")
    return found
