"""Sockets at which the server listens, and what is told where that cannot be."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from glmq_kernels.errors import GlmqError

from .settings import ServerSettings

BACKLOG = 128
"""Connections that the system keeps until they are taken."""

REMEDIES = {
    errno.EADDRINUSE: "another program has it; choose another port",
    errno.EACCES: "the system does not allow it; choose a port above 1023",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
}


@contextmanager
def listening_socket(settings: ServerSettings) -> Iterator[socket.socket]:
    """A socket that listens as the settings say, until the block ends. Raises GlmqError."""
    with _at_file(settings.unix) if settings.unix else _at_address(settings.host, settings.port) as listening:
        try:
            yield listening
        finally:
            if settings.unix:
                settings.unix.unlink(missing_ok=True)


def base_url(listening: socket.socket) -> str:
    """How clients address a socket that listens."""
    address = listening.getsockname()
    if listening.family == getattr(socket, "AF_UNIX", None):
        return f"http+unix://{address}"
    host, port = address[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _at_address(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no name or address"
        raise GlmqError(f"cannot listen at {host}: {reason}", setting="host") from None
    family, kind, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    # With the protocol named, asyncio switches off the delay of small packets (Nagle's algorithm).
    listening = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # elsewhere it would let several programs have one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it: a client whose machine went away is found out in the end.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        told = REMEDIES.get(error.errno or 0, error.strerror or str(error))
        setting = "host" if error.errno == errno.EADDRNOTAVAIL else "port"
        raise GlmqError(f"cannot listen at {host}, port {port}: {told}", setting=setting) from None
    return listening


def _at_file(path: Path) -> socket.socket:
    """A socket file that only its owner can use. One that nobody listens at any more is replaced."""
    if sys.platform == "win32":
        raise GlmqError("this system has no Unix sockets; leave this out", setting="unix")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_dead(path)
        before = os.umask(0o177)
        try:
            listening.bind(str(path))
        finally:
            os.umask(before)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        in_use = error.errno == errno.EADDRINUSE
        told = "the file is there and in use" if in_use else error.strerror or str(error)
        raise GlmqError(f"cannot listen at {path}: {told}", setting="unix") from None
    return listening


def _remove_dead(path: Path) -> None:
    if sys.platform == "win32":
        return
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
