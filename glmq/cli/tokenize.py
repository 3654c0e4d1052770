"""`glmq tokenize`: the token ids of a text."""

from __future__ import annotations

import click
from glmq_kernels.errors import GlmqError

from .model_argument import model_argument
from .options import Status, model_path
from .text_input import read_text


@click.command(short_help="Print the token ids of a text.")
@model_argument(required=True)
@click.argument("text", required=False)
@click.option("-f", "--file", metavar="FILE", help="The text is in a file; - is standard input.")
@click.option("--no-special", is_flag=True, help="Special tokens' names in the text are plain text.")
def tokenize(model: str, text: str | None, file: str | None, no_special: bool) -> None:
    """Print the token ids of TEXT on one line.

    MODEL is a GGUF file, which may hold a vocabulary only, or a demo model's name. No bos token is
    put before the text.
    """
    from ..gguf import open_gguf
    from ..tokenizer import load_tokenizer

    if (text is None) == (file is None):
        raise GlmqError("give the text, either as an argument or with -f FILE")
    content = text if text is not None else read_text(str(file))
    with open_gguf(model_path(model, Status())) as opened:
        ids = load_tokenizer(opened).encode(content, special=not no_special)
    click.echo(" ".join(map(str, ids)))
