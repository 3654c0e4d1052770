"""GLM-4.5, 4.6 and 4.7 language models on ordinary CPUs.

import glmq

with glmq.load("GLM-4.5-Air-Q4_0.gguf") as model:
    for piece in model.chat([{"role": "user", "content": "Hello!"}]):
        print(piece, end="", flush=True)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["ContextFull", "Generation", "Model", "Sampling", "Session", "UserError", "__version__", "load"]

if TYPE_CHECKING:
    from glmq_kernels.errors import UserError

    from .generation import Generation
    from .model import Model, load
    from .sampling import Sampling
    from .session import ContextFull, Session

_HOMES = {
    "load": "glmq.model",
    "Model": "glmq.model",
    "Session": "glmq.session",
    "ContextFull": "glmq.session",
    "Generation": "glmq.generation",
    "Sampling": "glmq.sampling",
    "UserError": "glmq_kernels.errors",
}


def __getattr__(name: str) -> Any:
    """Import the parts when they are first used, so that `import glmq` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'glmq' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
