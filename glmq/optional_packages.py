"""Packages that a program may leave out, such as the terminal's, and what is not there without them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from glmq_kernels.errors import GlmqError

USES = {
    "llguidance": ("answers held to a grammar or a schema need", "llguidance"),
    "jsonschema": ("tools need", "jsonschema"),
    "referencing": ("tools need", "referencing"),
    "docstring_parser": ("Python functions as tools need", "docstring-parser"),
    "pydantic": ("Python functions as tools need", "pydantic"),
    "mcp": ("MCP servers need", '"glmq[mcp]"'),
    "anyio": ("MCP servers need", '"glmq[mcp]"'),
    "starlette": ("the server needs", '"glmq[serve]"'),
    "uvicorn": ("the server needs", '"glmq[serve]"'),
    "prometheus_client": ("the server needs", '"glmq[serve]"'),
    "sentencepiece": ("the tokenizer of this model needs", "sentencepiece"),
    "xxhash": ("session files and pages on the disk need", "xxhash"),
    "huggingface_hub": ("models of the Hub need", "huggingface_hub"),
    "httpx2": ("models of the Hub need", "httpx2"),
    "gguf": ("making a GGUF file needs", "gguf"),
    "click": ("the command line needs", "click"),
    "rich": ("the terminal needs", "rich"),
    "prompt_toolkit": ("the terminal needs", "prompt_toolkit"),
    "markdown_it": ("the terminal needs", "markdown-it-py"),
}
"""By the module that is imported: what is not possible without it, and what pip is told to install."""


@contextmanager
def optional_packages() -> Iterator[None]:
    """Around imports: raise GlmqError, with the command that installs it, where one of `USES` is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise missing_package(error) or error from None


def require_packages(*modules: str) -> None:
    """Raise GlmqError, as `optional_packages` does, where one of some modules of `USES` is not installed."""
    with optional_packages():
        for module in modules:
            if find_spec(module) is None:
                raise ModuleNotFoundError(name=module)


def missing_package(error: ModuleNotFoundError) -> GlmqError | None:
    """What the lack of a package means, in a line; None for a module that is none of `USES`."""
    module = (error.name or "").partition(".")[0]
    if module not in USES:
        return None
    what, package = USES[module]
    return GlmqError(f"{what} the package {module}, which is not installed: pip install {package}")
