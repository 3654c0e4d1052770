"""What is told in a chat that is given commands: by the model, in the messages, and in refusals."""

from __future__ import annotations

import pytest
from glmq_kernels.errors import GlmqError

REPLIES = [f"</think>answer {i}" for i in range(1, 6)]
"""What the model says."""


def contents(talk):
    """The texts of its messages."""
    return [message["content"] for message in talk.messages]


def refused(talk, line):
    """The one line with which a command is refused."""
    with pytest.raises(GlmqError) as raised:
        talk.say(line)
    assert "\n" not in str(raised.value)
    return str(raised.value)
