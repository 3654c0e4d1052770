"""Running things in threads of their own, for tests."""

from __future__ import annotations

import threading

SECONDS = 60.0
"""How long tests wait for a thread."""


def run_aside(function):
    """Run in a thread; gives the thread, and what comes of it."""
    found = []

    def keep():
        try:
            found.append(function())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=keep)
    thread.start()
    return thread, found


def join(*threads):
    """Wait until they have ended."""
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
