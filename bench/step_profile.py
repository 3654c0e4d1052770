"""Where the time of a step goes, by operation: of one token or of a few in the row form.

python bench/step_profile.py FILE [--tokens 1] [--depth 512] [--threads 2] [--steps 40]

Every thread notes the processor's clock behind each operation of the tape, before and after the barrier that
follows, so that nothing else of a step is different. Milliseconds are medians of the slower thread's;
"waiting" is what threads wait at barriers on average, for each other or for the barrier itself.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from typing import Any

import numpy as np
from glmq_kernels.arrays import address_of, zeros
from glmq_kernels.jit.store import arguments
from glmq_kernels.ops.batch_state import LOGITS
from glmq_kernels.simd.addresses import argument, store_i64
from glmq_kernels.simd.vectors import I64
from glmq_kernels.threads.argument_record import COUNTER_BYTES, FIRST
from glmq_kernels.threads.thread_pool import ThreadPool
from llvmlite import ir
from numba import cfunc, types
from numba.extending import intrinsic
from scaling import bytes_of_products

import glmq


@intrinsic
def _clock(typing: Any) -> Any:
    """The processor's counter of time."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(I64, [])
        name = "llvm.readcyclecounter"
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        return builder.call(function, [])

    return types.int64(), codegen


@cfunc(types.void(types.int64, types.int64, types.int64))  # type: ignore[untyped-decorator]
def note_time(args, thread, threads):
    """Kernel: write the time to a thread's place."""
    store_i64(argument(args, FIRST) + 8 * thread, _clock())


class ProfiledTape:
    """The operations of a model's tape, with the times at which threads come to their ends."""

    def __init__(self, model: glmq.Model) -> None:
        self._pool, tape = ThreadPool(model.n_threads), model._program.tape
        self.names = [name.removeprefix("ops.").replace(".kernel.", ": ") for name, _, _ in tape._steps]
        n = len(self.names)
        self._times = zeros((n, 2, model.n_threads), np.int64)
        self._kept: list[np.ndarray] = []
        operations = tape._excerpt(0, n)
        self._operations = zeros((3 * n, 3), np.int64)
        for i, (code, args, barrier) in enumerate(operations):
            notes = [self._note(tape.state, self._times[i, j]) for j in (0, 1)]
            self._operations[3 * i] = code, args, 0
            self._operations[3 * i + 1] = note_time.address, address_of(notes[0]), barrier
            self._operations[3 * i + 2] = note_time.address, address_of(notes[1]), 0
        self._operations[-1, 2] = 1

    def _note(self, state: np.ndarray, place: np.ndarray) -> np.ndarray:
        taken = zeros(COUNTER_BYTES // 8, np.int64)
        values = arguments(address_of(state), address_of(taken), 1, address_of(place))
        self._kept += [taken, values]
        return values

    def run(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Milliseconds of each operation, on the slower thread, and of waiting behind it; of all of it."""
        began = time.perf_counter()
        self._pool.run(self._operations)
        whole = 1e3 * (time.perf_counter() - began)
        ends, starts = self._times[1:, 0], self._times[:-1, 1]
        clock = whole / (self._times[-1, 1].max() - self._times[0, 0].min())
        first = np.zeros((1, ends.shape[1]))  # the first operation, a row of the embedding, has no beginning
        work = np.concatenate([first, ends - starts]) * clock
        waits = (self._times[:, 1] - self._times[:, 0]) * clock
        return work.max(axis=1), waits.mean(axis=1), whole

    def close(self) -> None:
        """End the threads."""
        self._pool.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--tokens", type=int, default=1)
    parser.add_argument("--depth", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40)
    args = parser.parse_args()
    n_ctx = args.depth + args.tokens + 8
    model = glmq.load(args.file, n_ctx=n_ctx, n_threads=args.threads, activations="int8", ram="100G")
    session, logits = model.session(), zeros((args.tokens, model.n_vocab), np.float32)
    session.evaluate([token % model.n_vocab for token in range(args.depth)])
    session.evaluate([token % model.n_vocab for token in range(args.tokens)])
    model._program.tape.state[LOGITS] = address_of(logits)
    tape = ProfiledTape(model)
    runs = [tape.run() for _ in range(args.steps)]
    tape.close()
    work, waits = (np.median([run[i] for run in runs], axis=0) for i in (0, 1))
    whole = float(np.median([run[2] for run in runs]))
    n_bytes = bytes_of_products(model)
    print("| operation | times | ms | of the step | GB/s of weights | waiting, ms |")
    print(f"|{' --- |' * 6}")
    places: dict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(tape.names):
        places[name].append(i)
    for name, at in sorted(places.items(), key=lambda item: -work[item[1]].sum()):
        ms, read = work[at].sum(), sum(n_bytes[i] for i in at)
        speed = f"{read / ms / 1e6:.1f}" if read and args.tokens == 1 else ""
        print(f"| {name} | {len(at)} | {ms:.3f} | {ms / whole:.1%} | {speed} | {waits[at].sum():.3f} |")
    print(f"| all of it | | {whole:.3f} | | {sum(n_bytes) / whole / 1e6:.1f} | {waits.sum():.3f} |")


if __name__ == "__main__":
    main()
