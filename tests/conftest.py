from __future__ import annotations

import contextlib
import os
import re
import signal
import time

import pytest
from glmq_kernels.files.file_lock import try_lock
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from glmq_kernels.jit import isa
from glmq_kernels.jit.cache_folder import private_folder
from glmq_kernels.jit.store import kernels
from glmq_kernels.threads.thread_pool import KERNELS as POOL_KERNELS
from hypothesis import settings

from .kernels.runs import product_kernels

TYPES_ON_OTHER_LEVELS = frozenset(("F32", "F16", "BF16", "Q8_0", "Q4_1", "Q6_K", "IQ3_S", "IQ1_M", "TQ1_0"))
"""One type of each kind of unpacking. Others are tested on the best level alone, but for slow tests."""

HEAD_DIM_ON_OTHER_LEVELS = 32
CACHE_TYPE_ON_OTHER_LEVELS = "F16"
"""The same of attention's heads and of the KV cache."""


LEVELS = [name for name in isa.levels() if name != "amx"]
"""Levels of instructions that tests run on, the best first.

AMX is AVX-512 but for products of many tokens with quantized weights and with bfloat16: tests of these name
it (`tests/kernels/test_amx.py` and a few of whole models), all others leave it out.
"""
os.environ.setdefault("GLMQ_ISA", LEVELS[0])

BRIEF_EXAMPLES = 40
"""Of each property that sets no number of its own, where slow tests are left out; else hypothesis's 100."""


def pytest_configure(config):
    """Few examples for brief runs.

    Programs that tests start can be interrupted, even if a shell runs the tests in the background.
    """
    if config.getoption("markexpr") == "not slow":
        settings.register_profile("brief", max_examples=BRIEF_EXAMPLES)
        settings.load_profile("brief")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=LEVELS)
def any_isa(request, monkeypatch):
    """Runs a test once for each level of instructions that this machine has, or on one that it names."""
    monkeypatch.setenv("GLMQ_ISA", request.param)
    return request.param


def level_of(item):
    """The level of instructions that a test runs on."""
    return chosen(item).get("any_isa") or isa.current().name


def chosen(item):
    """A test's parameters."""
    return item.callspec.params if hasattr(item, "callspec") else {}


def pytest_collection_modifyitems(items):
    best = LEVELS[0]
    for item in items:
        is_rare = (
            chosen(item).get("type_name", "F32") not in TYPES_ON_OTHER_LEVELS
            or chosen(item).get("head_dim", HEAD_DIM_ON_OTHER_LEVELS) != HEAD_DIM_ON_OTHER_LEVELS
            or chosen(item).get("cache_type", CACHE_TYPE_ON_OTHER_LEVELS) != CACHE_TYPE_ON_OTHER_LEVELS
        )
        if chosen(item).get("any_isa", best) != best and is_rare:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    """Before the first test, compile all products that tests are named after, which keeps all cores busy."""
    if session.config.option.collectonly or session.testsfailed:
        return
    wanted = {}
    for item in session.items:
        named = KERNEL_TYPES.keys() & set(re.findall(r"\w+", item.name))
        wanted.setdefault(level_of(item), set()).update(named)
    with one_process_at_a_time():
        for level, type_names in wanted.items():
            if type_names:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setenv("GLMQ_ISA", level)
                    kernels([*POOL_KERNELS, *product_kernels(sorted(type_names))])


@contextlib.contextmanager
def one_process_at_a_time():
    """Of the processes that run tests side by side, one compiles and the others find what it made."""
    with open(private_folder("tests") / "compiling", "ab", buffering=0) as file:
        while not try_lock(file):
            time.sleep(0.2)
        yield
