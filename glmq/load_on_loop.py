"""Loading a model beside an event loop. Nothing large is imported here: that would hold the loop up too."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .model import Model


class LoadSettings(TypedDict, total=False):
    """What `glmq.load` takes beside the path."""

    n_ctx: int | None
    n_threads: int | None
    cache_type: str
    cache_type_k: str | None
    cache_type_v: str | None
    activations: str
    ram: int | str | None
    cache_disk: int | str | None
    cache_folder: str | os.PathLike[str] | None
    load: str
    deterministic: bool
    numa: bool
    draft: str | os.PathLike[str]
    kernels: str | os.PathLike[str] | None
    progress: Callable[[str, float], None] | None


class _Abandoned(Exception):
    """Nobody waits for the model any more."""


async def aload(path: str | os.PathLike[str], **settings: Unpack[LoadSettings]) -> Model:
    """`glmq.load` for an event loop: a thread loads the model, `progress` is called in the loop's thread.

    The tokenizer and the chat template are made ready too. Cancelling the task ends the loading.
    """
    from .event_loop import in_thread, told_in_loop

    progress = settings.get("progress")
    tell_progress = told_in_loop(progress) if callable(progress) else None
    abandoned = False

    def tell(text: str, fraction: float) -> None:
        if abandoned:
            raise _Abandoned
        if tell_progress is not None:
            tell_progress(text, fraction)

    def work() -> Model:
        from glmq_kernels.errors import GlmqError

        from .argument_checks import check_call
        from .load_model import load

        check_call("progress", progress)
        settings["progress"] = tell
        model = load(path, **settings)
        with suppress(GlmqError):  # a model without them has other uses
            assert model.tokenizer and model.chat_template
        return model

    try:
        return await in_thread(work, discard=lambda model: model.close())
    except BaseException:
        abandoned = True
        raise
