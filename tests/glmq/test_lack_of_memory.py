"""The command line without memory: one line and exit code 2, whatever it was that got none."""

from __future__ import annotations

import errno
import os

import click
import pytest
from click.testing import CliRunner

from glmq.cli import Commands


def of_the_loader():
    """What llvmlite makes of the system's words about a library that finds no room."""
    try:
        raise OSError("libllvmlite.so: failed to map segment from shared object")
    except OSError as error:
        raise OSError("could not find shared object file 'libllvmlite.so'") from error


def outcome(error):
    """(exit code, standard error) of a command that ends with an error."""

    class One(Commands):
        def get_command(self, ctx, name):
            return click.Command(name, callback=error)

    done = CliRunner().invoke(One(), ["chat"])
    return done.exit_code, done.stderr


def raising(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    "command",
    (
        raising(MemoryError()),
        raising(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))),
        raising(ImportError("tokenizers.abi3.so: failed to map segment from shared object")),
        of_the_loader,
    ),
    ids=("MemoryError", "OSError", "ImportError", "llvmlite"),
)
def test_a_lack_of_memory_is_told_in_one_line(command):
    code, told = outcome(command)
    assert code == 2
    assert told.startswith("glmq: error: not enough memory") and told.count("\n") == 1


@pytest.mark.parametrize("error", (OSError(errno.EIO, "no"), ImportError("no module"), ValueError()))
def test_other_errors_are_internal(error):
    code, told = outcome(raising(error))
    assert code == 1
    assert told.startswith("glmq: internal error: ") and "memory" not in told
