"""The error of this package."""

from __future__ import annotations

from glmq_kernels.errors import GlmqError


class GGUFError(GlmqError):
    """A file that cannot be read as GGUF. The message names the file, the fault and the way out."""


GET_IT_AGAIN = "compare its checksum with the publisher's, or download it again"
"""What to do about a file that was sound when it was published."""
