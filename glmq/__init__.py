"""GLM-4.5, 4.6 and 4.7 language models on ordinary CPUs.

import glmq

with glmq.load("GLM-4.5-Air-Q4_0.gguf") as model:
    for piece in model.chat([{"role": "user", "content": "Hello!"}]):
        print(piece, end="", flush=True)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Answer",
    "ChatOptions",
    "ChatSession",
    "Compaction",
    "ContentText",
    "ContextFull",
    "FileExists",
    "Generation",
    "GlmqError",
    "LoadedBeforeFork",
    "Model",
    "ModelClosed",
    "NotFinite",
    "OutOfPages",
    "ReasoningText",
    "Restored",
    "Sampling",
    "Session",
    "SessionBusy",
    "Timings",
    "ToolCallBegin",
    "ToolCallEnd",
    "ToolCallResult",
    "ToolCallText",
    "Turn",
    "Usage",
    "WrongSession",
    "__version__",
    "aload",
    "load",
]

if TYPE_CHECKING:
    from glmq_kernels.errors import GlmqError
    from glmq_kernels.files.file_writing import FileExists

    from .answer_costs import Timings, Usage
    from .chat.answer import Answer
    from .chat.chat_session import ChatSession
    from .chat.events import ContentText, ReasoningText, ToolCallBegin, ToolCallEnd, ToolCallText
    from .chat.options import ChatOptions
    from .chat.summary import Compaction
    from .chat.turn import Turn
    from .errors import (
        ContextFull,
        LoadedBeforeFork,
        ModelClosed,
        NotFinite,
        OutOfPages,
        SessionBusy,
        WrongSession,
    )
    from .generation import Generation
    from .load_model import load
    from .load_on_loop import aload
    from .model import Model
    from .sampling import Sampling
    from .session import Session
    from .session_file import Restored
    from .tools.rounds import ToolCallResult

_HOMES = {
    "aload": "glmq.load_on_loop",
    "load": "glmq.load_model",
    "Model": "glmq.model",
    "Session": "glmq.session",
    "ContextFull": "glmq.errors",
    "LoadedBeforeFork": "glmq.errors",
    "ModelClosed": "glmq.errors",
    "NotFinite": "glmq.errors",
    "OutOfPages": "glmq.errors",
    "SessionBusy": "glmq.errors",
    "WrongSession": "glmq.errors",
    "Restored": "glmq.session_file",
    "FileExists": "glmq_kernels.files.file_writing",
    "Generation": "glmq.generation",
    "Timings": "glmq.answer_costs",
    "Usage": "glmq.answer_costs",
    "Sampling": "glmq.sampling",
    "Answer": "glmq.chat.answer",
    "ChatOptions": "glmq.chat.options",
    "ChatSession": "glmq.chat.chat_session",
    "Turn": "glmq.chat.turn",
    "Compaction": "glmq.chat.summary",
    "ToolCallResult": "glmq.tools.rounds",
    "ReasoningText": "glmq.chat.events",
    "ContentText": "glmq.chat.events",
    "ToolCallBegin": "glmq.chat.events",
    "ToolCallText": "glmq.chat.events",
    "ToolCallEnd": "glmq.chat.events",
    "GlmqError": "glmq_kernels.errors",
}


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Import the parts when they are first used, so that `import glmq` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'glmq' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
