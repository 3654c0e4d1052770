"""Where glmq keeps files of its own: compiled kernels, the demo model, the chat history."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """The cache folder, created: `$GLMQ_CACHE`, else the platform's usual place, else a temporary folder."""
    chosen = os.environ.get("GLMQ_CACHE")
    folder = Path(chosen).expanduser() if chosen else _platform_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    fallback = Path(tempfile.gettempdir()) / f"glmq-{os.environ.get('USER', 'cache')}"
    fallback.mkdir(mode=0o700, parents=True, exist_ok=True)
    return fallback


def _platform_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "glmq" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "glmq"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glmq"
