"""From what a model is called to its file: a path, the name of a demo model, or a name on the Hub."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

from glmq_kernels.jit.compilation import Progress

from .demo import named_demo
from .hub.names import HubName, hub_name

Download = Callable[[HubName], Path]
"""Downloads a model that is not in the cache; gives its first file."""


def model_file(
    name: str | os.PathLike[str], progress: Progress | None = None, download: Download | None = None
) -> Path:
    """The file of a model. A file or folder of that name goes before models that are called so.

    A model of the Hub that is in the cache is taken as it is there, and else downloaded: by `download`, by
    default telling `progress`, or where there is none a warning, how large it is. Raises GlmqError.
    """
    demo = named_demo(name)
    if demo is not None:
        return demo.path(progress)
    on_hub = None if os.path.lexists(name) else hub_name(os.fspath(name))
    if on_hub is None:
        return Path(name)
    from .hub.cache import cached_model

    cached = cached_model(on_hub)
    if cached is None:
        return download(on_hub) if download else _download(on_hub, progress)
    cached.mark_used()
    return cached.path


def _download(name: HubName, progress: Progress | None) -> Path:
    from .hub.model_choice import gigabytes
    from .hub.pull import Transfer, plan_pull

    pull = plan_pull(name)
    size = gigabytes(pull.n_bytes_missing)
    if progress is None:
        warnings.warn(f"downloading {name}: {size}", stacklevel=3)
        return pull.run()[0]
    tell = progress

    def told(transfer: Transfer) -> None:
        tell(f"downloading {name} ({size}, once)", transfer.n_done / max(1, transfer.n_bytes))

    return pull.run(told)[0]
