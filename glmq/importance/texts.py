"""The texts of an importance matrix: files of text or of conversations, cut into chunks of tokens.

text             any file of text; names of special tokens in it are text like any other
conversations    *.json: a list of objects with `messages`, and with `tools` and other arguments of the chat
                 template where they have them, or one such object; *.jsonl: one on each line
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from glmq_kernels.errors import GlmqError

from ..chat.messages import check_messages
from ..loaded_model import LoadedModel
from ..text_file import read_text_file

OF_CONVERSATIONS = (".json", ".jsonl")
NO_ARGUMENTS = ("messages", "add_generation_prompt", "continue_final_message")
"""Fields that are no arguments of a template, or say how an answer begins, which a whole conversation has."""


@dataclass(frozen=True)
class Text:
    """A text, with the name of its file.

    special: whether names of special tokens in it stand for these tokens.
    """

    name: str
    content: str
    special: bool


def read_text(path: Path, model: LoadedModel) -> Text:
    """A file's text; conversations as the model's chat template writes them, one after the other.

    Raises GlmqError, with the number of a conversation that is wrong.
    """
    return text_of(path, read_content(path), model)


def read_content(path: Path) -> str:
    """What a file of text or of conversations holds; a pipe can be read once. Raises GlmqError."""
    return read_text_file(path, or_pipe=True)


def text_of(path: Path, content: str, model: LoadedModel) -> Text:
    """As `read_text`, of a content that has been read."""
    if path.suffix.lower() not in OF_CONVERSATIONS:
        return Text(path.name, content, special=False)
    rendered = [
        _rendered(conversation, f"{path}: conversation {i}", model)
        for i, conversation in enumerate(_conversations(content, path), 1)
    ]
    return Text(path.name, "".join(rendered), special=True)


def _conversations(content: str, path: Path) -> Sequence[Any]:
    try:
        if path.suffix.lower() == ".jsonl":
            return [json.loads(line) for line in content.split("\n") if line.strip()]
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise GlmqError(f"{path} is not JSON: {error}") from None
    return found if isinstance(found, list) else [found]


def _rendered(conversation: Any, where: str, model: LoadedModel) -> str:
    if not isinstance(conversation, dict) or "messages" not in conversation:
        raise GlmqError(f"{where} is no object with messages")
    arguments = {key: value for key, value in conversation.items() if key not in NO_ARGUMENTS}
    try:
        messages = check_messages(conversation["messages"])
        return model.chat_template.render(messages, add_generation_prompt=False, **arguments)
    except GlmqError as error:
        raise GlmqError(f"{where}: {error}") from None


def chunks_of(text: Text, model: LoadedModel, chunk_size: int) -> Iterator[np.ndarray]:
    """The text's whole chunks, int64 (chunk_size,); what is left at its end is dropped.

    Where the model's texts begin with a token of their own, each chunk's first is replaced by it. Raises
    GlmqError for a text that does not fill one chunk.
    """
    tokenizer = model.tokenizer
    tokens = np.array(
        tokenizer.encode(text.content, special=text.special, add_bos=tokenizer.add_bos), np.int64
    )
    if len(tokens) < chunk_size:
        raise GlmqError(
            f"{text.name} has {len(tokens)} tokens, and a chunk {chunk_size}; give a longer text",
            setting="chunk_size",
        )
    for first in range(0, len(tokens) - chunk_size + 1, chunk_size):
        chunk = tokens[first : first + chunk_size].copy()
        if tokenizer.add_bos and tokenizer.bos_id is not None:
            chunk[0] = tokenizer.bos_id
        yield chunk
