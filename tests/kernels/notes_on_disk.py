"""Files of notes, for tests of what is written and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import Kind, check_target, write_file

KERNELS = Path(__file__).parents[2] / "kernels"
NOTES = Kind("a file of notes", lambda path: path.read_bytes().startswith(b"notes"))


def write(path, content=b"notes: new", **how):
    write_file(check_target(path, NOTES, **how), content)


def refused(path, **how):
    """The one line with which a file is refused, before anything of it is written."""
    with pytest.raises(GlmqError) as refusal:
        check_target(path, NOTES, **how)
    line = str(refusal.value)
    assert "\n" not in line
    return line


def names(folder):
    return sorted(path.name for path in folder.iterdir())
