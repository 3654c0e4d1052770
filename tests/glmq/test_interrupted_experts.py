"""An error at any line of how experts are fetched leaves a model that gives the same answers."""

from __future__ import annotations

import random
import sys
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
from glmq_kernels.disk_reads import disk_reader as reader_module

import glmq
from glmq.experts import disk as disk_module
from glmq.experts import expert_cache, fetching, offload

from .disk_models import UnreliableDisk, load_from_disk
from .small_models import N_VOCAB

PROMPT = np.random.default_rng(5).integers(0, N_VOCAB, 40).tolist()
INTERRUPTED = {module.__file__ for module in (fetching, expert_cache, offload, reader_module)}


class Interrupt:
    """Raises KeyboardInterrupt at the `at`-th line that is run of the modules above, for `sys.settrace`."""

    def __init__(self, at: float) -> None:
        self.n_lines, self._at = 0, at

    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename not in INTERRUPTED:
            return None
        self.n_lines += event == "line"
        if self.n_lines >= self._at:
            raise KeyboardInterrupt
        return self


def run_with(monkeypatch, interrupt, model, tokens):
    """Evaluate until the interrupt comes, in the thread that runs the model."""
    run = model._program.run

    def traced(*arguments):
        sys.settrace(interrupt)
        try:
            return run(*arguments)
        finally:
            sys.settrace(None)

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(model._program, "run", traced)
        model.session().evaluate(tokens)


@pytest.mark.parametrize("n_tokens", [1, 40])
def test_an_interrupt_at_any_line_changes_no_answer(monkeypatch, tmp_path, small_path, n_tokens):
    monkeypatch.setattr("glmq.experts.profile.cache_folder", lambda: tmp_path)
    with glmq.load(small_path, n_ctx=128) as mapped:
        expected = mapped.logits(PROMPT)
    slow = UnreliableDisk(failures=0, seconds=0.001)
    monkeypatch.setattr(disk_module, "DiskReader", partial(reader_module.DiskReader, read=slow.address))
    rng = random.Random(n_tokens)
    with load_from_disk(monkeypatch, small_path, 5, n_ctx=128) as model:
        for i in range(60):
            tokens = rng.choices(range(N_VOCAB), k=n_tokens)
            count = Interrupt(np.inf)
            run_with(monkeypatch, count, model, tokens)
            run_with(monkeypatch, Interrupt(rng.randint(1, count.n_lines)), model, tokens)
            if i % 3 == 0:
                run_with(monkeypatch, Interrupt(rng.randint(1, count.n_lines)), model, tokens)
            np.testing.assert_array_equal(model.logits(PROMPT), expected)
