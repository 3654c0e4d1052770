"""Choosing the next token, with the same steps as llama.cpp.

settings.py: what can be set. sampler.py: the chain of steps, and the draw. candidates.py: the tokens that
may still be drawn. filters.py, penalties.py, dry.py, mirostat.py: the steps. recommendations.py: the settings
that suit a model. from_text.py: settings that a user types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["Sampler", "Sampling", "recommended"]

if TYPE_CHECKING:
    from .recommendations import recommended
    from .sampler import Sampler
    from .settings import Sampling

_HOMES = {"Sampling": "settings", "Sampler": "sampler", "recommended": "recommendations"}


def __getattr__(name: str) -> Any:
    """Import the parts when they are first used: settings alone need no NumPy."""
    if name not in _HOMES:
        raise AttributeError(f"module 'glmq.sampling' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
