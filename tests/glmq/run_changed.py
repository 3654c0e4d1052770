"""Use changed models (`changed_models.py`), each in a child process whose arrays end at unreadable pages.

Prints how many were refused and how many ran, and every case in which anything else happened.

python -m tests.glmq.run_changed FOLDER N [PART OF A NAME]
"""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from glmq_kernels.errors import GlmqError
from glmq_kernels.machine.cores import processor_count

import glmq
from glmq.experts import placement
from glmq.loading import needs_of
from glmq.sampling import Sampling

from .changed_models import Case, all_cases, write_models
from .disk_models import expert_sizes, plan_with_experts_on_disk
from .gguf_edits import GGUFParts

RAN, REFUSED, INTERNAL = 0, 3, 4
MOST_SECONDS = 60
MOST_BYTES = 4 << 30
"""Memory that a child may ask for."""


SLOTS = 5
"""Experts that stay in memory where others come from disk."""


def load_from_disk(path: Path, n_threads: int) -> glmq.Model:
    """Load so that few experts are in memory, where the model has any."""
    with glmq.load(path, n_threads=n_threads) as mapped:
        needs = needs_of(mapped.file, mapped._program, mapped.n_ctx)
        layers = mapped._program.expert_layers
        top_k = layers[0].routing.top_k if layers else 0
    if not layers:
        return glmq.load(path, n_threads=n_threads)
    placement.RESERVE, placement.resident_memory = 0, lambda: 0  # this is a process of its own
    glmq.loading.plan_memory = plan_with_experts_on_disk
    staging = max(placement.LEAST_STAGING, top_k + placement.PREFETCHED)
    budget = needs.least_work + needs.kv_cache + (staging + SLOTS) * expert_sizes(path)[1]
    return glmq.load(path, n_threads=n_threads, ram=budget)


def use(path: Path, n_threads: int, *, from_disk: bool = False) -> None:
    """Prompts of 1, 3 and 40 tokens, some text, an answer. AssertionError for logits that are not finite."""
    with load_from_disk(path, n_threads) if from_disk else glmq.load(path, n_threads=n_threads) as model:
        tokens = np.arange(40) * 7 % model.n_vocab
        for n in (1, 3, 40):
            assert np.isfinite(model.logits(tokens[:n].tolist())).all()
        model.generate("ab a", sampling=Sampling(seed=1), max_tokens=4).run()
        list(model.chat([{"role": "user", "content": "Hi"}], sampling=Sampling(temperature=0), max_tokens=3))


def child(case: Case, parts: GGUFParts, path: Path, number: int) -> int:
    """The life of a child: its exit status says how the case ended."""
    signal.alarm(MOST_SECONDS)
    try:
        changed = parts.copy()
        case.change(changed)
        path.write_bytes(changed.to_bytes())
        use(path, n_threads=1 + number % 2, from_disk=number % 5 == 0)
    except GlmqError as error:
        message = str(error)
        if "\n" not in message and message:
            return REFUSED
        print(f"a refusal that is not one line: {message!r}")
    except Exception:
        traceback.print_exc(file=sys.stdout)
    else:
        if not case.must_fail:
            return RAN
        print("numbers that are not finite became text")
    return INTERNAL


def start(case: Case, parts: GGUFParts, folder: Path, number: int) -> int:
    """Fork a child for a case; gives its process id."""
    process = os.fork()
    if process:
        return process
    status = INTERNAL
    try:
        log = os.open(folder / f"{os.getpid()}.log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
        status = child(case, parts, folder / f"{os.getpid()}.gguf", number)
        sys.stdout.flush()
    finally:
        os._exit(status)


def outcomes(
    cases: list[Case], models: dict[str, GGUFParts], folder: Path
) -> Iterator[tuple[Case, int, str]]:
    """Each case with how its process ended and what it printed; as many at once as there are cores."""
    running: dict[int, Case] = {}
    for number, case in enumerate([*cases, *[None] * processor_count()]):
        while running and (case is None or len(running) >= processor_count()):
            process, status = os.wait()
            log, model = folder / f"{process}.log", folder / f"{process}.gguf"
            yield running.pop(process), status, log.read_text(errors="replace")
            log.unlink()
            model.unlink(missing_ok=True)
        if case is not None:
            running[start(case, models[case.model], folder, number)] = case


def failure(status: int) -> str | None:
    """What is wrong with the end of a child, if anything."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        hung = f" (more than {MOST_SECONDS} seconds)" if number == signal.SIGALRM else ""
        return f"died of {signal.Signals(number).name}{hung}"
    return None if os.WEXITSTATUS(status) in (RAN, REFUSED) else "internal error"


def main() -> None:
    """Run the cases; end with status 1 where one failed."""
    os.environ |= {"GLMQ_GUARD_PAGES": "1", "TOKENIZERS_PARALLELISM": "false"}
    faulthandler.enable()
    np.seterr(all="ignore")
    folder, n = Path(sys.argv[1]), int(sys.argv[2])
    part_of_name = sys.argv[3] if len(sys.argv) > 3 else ""
    models = write_models(folder)
    cases = [case for case in all_cases(models) if part_of_name in case.name][:n]
    for i, name in enumerate(models):
        if any(case.model == name for case in cases):
            use(folder / f"model-{i}.gguf", n_threads=1)  # loads kernels and libraries for all children
    ran = refused = failed = 0
    sys.stdout.flush()
    for case, status, printed in outcomes(cases, models, folder):
        wrong = failure(status)
        if wrong:
            failed += 1
            print(f"{case.name}: {wrong}\n{printed[-2000:]}")
        ran += status == RAN
        refused += os.WIFEXITED(status) and os.WEXITSTATUS(status) == REFUSED
    print(len(cases), ran, refused, failed)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
