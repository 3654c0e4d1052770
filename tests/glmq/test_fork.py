"""A process that was forked after a model was loaded: no hang, and an error that says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

BEGIN = """
import gc, multiprocessing, os, sys, threading, time
import glmq
from glmq_kernels.errors import GlmqError

def child_does(work):
    "Runs in a child that then ends as programs do; gives its exit status."
    child = os.fork()
    if child == 0:
        try:
            work()
        except SystemExit:
            raise  # of a child of its own
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        sys.exit(7)
    deadline = time.monotonic() + 60
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, 9)
            raise SystemExit("the child hangs")
        time.sleep(0.01)

def refused(use):
    try:
        use()
    except glmq.LoadedBeforeFork as error:
        assert isinstance(error, GlmqError)
        assert "was loaded before this process was forked" in str(error)
        assert "load it in this one" in str(error)
    else:
        raise AssertionError("not refused")

path = sys.argv[1]
model = glmq.load(path, n_ctx=128)
GREEDY = glmq.Sampling(temperature=0)
expected = model.generate("Hello", sampling=GREEDY, max_tokens=5).run()

def same(model):
    assert model.generate("Hello", sampling=GREEDY, max_tokens=5, session=model.session()).run() == expected
"""
END = """
same(model)
model.close()
print("fine")
"""


def run(code, path):
    """Run a program with a model in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", BEGIN + code + END, str(path)],
        capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert ended.stdout.splitlines()[-1:] == ["fine"], ended.stdout + ended.stderr


CASES = {
    "every use is refused at once": """
session = model.session()
def work():
    refused(lambda: model.generate("x"))
    refused(lambda: model.chat([{"role": "user", "content": "x"}]))
    refused(lambda: model.logits([1]))
    refused(lambda: model.session())
    refused(lambda: model.restore_session("x"))
    refused(lambda: session.evaluate([1]))
    refused(lambda: session.save("x"))
    refused(model.record_routing)
assert child_does(work) == 7
""",
    "an answer that had begun is refused, and goes on in the parent": """
generation = model.generate("Hello", sampling=GREEDY, max_tokens=5, session=model.session())
pieces = iter(generation)
first = next(pieces)
assert child_does(lambda: refused(lambda: list(pieces))) == 7
"".join(pieces)
assert generation.text == expected
""",
    "a child that does nothing with it ends": """
assert child_does(lambda: None) == 7
""",
    "a child that closes it ends": """
assert child_does(model.close) == 7
assert child_does(lambda: (model.close(), model.close())) == 7
""",
    "a child that forgets it ends": """
def work():
    global model
    del model
    gc.collect()
assert child_does(work) == 7
""",
    "what needs no threads works": """
tokens = model.tokenize("Hello")
def work():
    assert model.tokenize("Hello") == tokens
    assert model.detokenize(tokens) == "Hello"
assert child_does(work) == 7
""",
    "a child can load a model of its own": """
def work():
    with glmq.load(path, n_ctx=128) as own:
        same(own)
assert child_does(work) == 7
""",
    "a child can fork again": """
def work():
    own = glmq.load(path, n_ctx=128)
    assert child_does(lambda: refused(lambda: own.generate("x"))) == 7
    same(own)
assert child_does(work) == 7
""",
    "fork by a thread": """
found = []
def fork():
    found.append(child_does(lambda: refused(lambda: model.generate("x"))))
thread = threading.Thread(target=fork)
thread.start()
thread.join()
assert found == [0], "sys.exit ends the thread, with which the child ends"
""",
    "fork while another thread answers": """
stop = threading.Event()
def answer():
    while not stop.is_set():
        model.generate("x", max_tokens=50, session=model.session()).run()
thread = threading.Thread(target=answer)
thread.start()
try:
    for _ in range(10):
        assert child_does(lambda: refused(lambda: model.generate("x"))) == 7
        assert child_does(model.close) == 7
finally:
    stop.set()
    thread.join()
""",
    "multiprocessing": """
def use(queue):
    try:
        model.generate("x").run()
    except Exception as error:
        queue.put(error)
context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=use, args=(queue,))
process.start()
error = queue.get(timeout=60)
process.join(60)
assert process.exitcode == 0
assert type(error) is glmq.LoadedBeforeFork, error
with context.Pool(2) as pool:
    refused(lambda: pool.apply(model_logits))
""",
}


@pytest.mark.parametrize("code", CASES.values(), ids=CASES)
def test_fork_with_a_mapped_model(small_path, code):
    run("def model_logits():\n    return model.logits([1])\n" + code, small_path)


ON_DISK = """
from tests.glmq.disk_models import load_from_disk
import pytest
model.close()
patch = pytest.MonkeyPatch()
model = load_from_disk(patch, path, 5, n_ctx=128)
patch.undo()
"""


@pytest.mark.parametrize("case", ("every use is refused at once", "a child that closes it ends",
                                  "a child that forgets it ends"))  # fmt: skip
def test_fork_with_experts_on_disk(small_path, case):
    run(ON_DISK + CASES[case], small_path)
