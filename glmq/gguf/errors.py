"""The error of this package."""

from __future__ import annotations

from glmq_kernels.errors import UserError


class GGUFError(UserError):
    """A file that cannot be read as GGUF. The message names the file, the fault and the way out."""
