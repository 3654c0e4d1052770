"""A server that nobody asks anything."""

from __future__ import annotations

import os
import threading

import pytest

from .running_server import RunningServer, wait_until


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts how often Linux wakes threads")
def test_it_sleeps(demo_tools):
    with RunningServer(demo_tools) as server:
        body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}
        with server.http() as client:
            client.post("/v1/chat/completions", json=body)
        wait_until(lambda: server.service.admission.n_busy == 0)
        threading.Event().wait(0.5)  # what follows an answer is over
        before = wakeups()
        threading.Event().wait(2)
        after = wakeups()
    woken = {name: after[name] - before.get(name, 0) for name in after}
    woken.pop(threading.get_native_id())  # this test's own thread
    assert max(woken.values()) <= 2, woken


def wakeups():
    """How often each thread of this process has waited, by its number."""
    found = {}
    for thread in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{thread}/status") as file:
            status = dict(line.split(":", 1) for line in file)
        found[int(thread)] = int(status["voluntary_ctxt_switches"])
    return found
