"""The argument that names a model, and what the shell completes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

Command = TypeVar("Command", bound=Callable[..., Any])


def model_argument(*, required: bool = False) -> Callable[[Command], Command]:
    """A model by its file, the name of a demo model or one on the Hub, as `model`."""
    return click.argument("model", required=required, shell_complete=complete_model)


def complete_model(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Models by name, and files."""
    names = [CompletionItem(name) for name in model_names(typed)]
    return [*names, CompletionItem(typed, type="file")]


def complete_cached(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names of what is in the cache."""
    return [CompletionItem(name) for name in cached_names(typed)]


def model_names(typed: str) -> list[str]:
    """Names of demo models and of models in the cache that begin so."""
    from ..demo import DEMOS

    return [name for name in DEMOS if name.startswith(typed)] + cached_names(typed)


def cached_names(typed: str) -> list[str]:
    """Names in the cache that begin so."""
    from ..hub.cached_models import cached_models

    return sorted({each.name for each in cached_models() if each.name.startswith(typed)})
