"""How long an event loop stands still while glmq works beside it.

python bench/event_loop.py [MODEL] [--repeat 3]

A task sleeps a millisecond at a time on the loop; a stall is what it sleeps too long. What other programs do
is left out: the time that the loop's thread waited for a core (Linux tells it), and what is beyond the
processor time of the process itself. Each piece of work runs in a process of its own, so that loading begins
with nothing imported. Of several runs the one with the shortest longest stall is told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

TICK = 0.001
LONG_TEXT = "The sea was calm, and the harbour lay in the sun as if nothing had ever happened there. "
SCHEMA = {
    "type": "object",
    "properties": {
        f"field_{n}": {"type": "array", "items": {"enum": [f"value {n} {each}" for each in range(20)]}}
        for n in range(100)
    },
}


async def stalls(work: Awaitable[object]) -> list[float]:
    """Seconds that each tick came late, by this process's doing, while something goes on."""
    late = []

    async def tick() -> None:
        while True:
            began, used, waited = time.perf_counter(), time.process_time(), waited_for_core()
            await asyncio.sleep(TICK)
            stalled = time.perf_counter() - began - TICK - (waited_for_core() - waited)
            late.append(min(stalled, time.process_time() - used))

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(5 * TICK)
    late.clear()
    await work
    ticking.cancel()
    return late


def waited_for_core() -> float:
    """Seconds that this thread could have run but had no core, so far."""
    return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9


async def nothing(model: str) -> list[float]:
    """Two seconds without work."""
    return await stalls(asyncio.sleep(2))


async def load(model: str) -> list[float]:
    """Importing glmq and loading a model."""

    async def work() -> None:
        import glmq

        (await glmq.aload(model)).close()

    return await stalls(work())


async def stream(model: str) -> list[float]:
    """An answer of 200 tokens."""
    import glmq

    async def work() -> None:
        async for _ in (await loaded.achat(question(), max_tokens=200)).aevents():
            pass

    with await glmq.aload(model) as loaded:
        await (await loaded.achat(question(), max_tokens=1)).arun()
        return await stalls(work())


async def read_prompt(model: str) -> list[float]:
    """A prompt of some 2,000 tokens."""
    import glmq

    with await glmq.aload(model, n_ctx=4096) as loaded:
        n_repeats = 2000 // len(loaded.tokenize(LONG_TEXT))
        return await stalls((await loaded.achat(question(LONG_TEXT * n_repeats), max_tokens=1)).arun())


async def compile_grammar(model: str) -> list[float]:
    """A JSON schema of 2,000 values, and a token under it."""
    import glmq
    from glmq.constraint import json_schema_constraint

    async def work() -> None:
        held = json_schema_constraint(SCHEMA)
        await (await loaded.achat(question(), constraint=held, think_budget=0, max_tokens=2)).arun()

    with await glmq.aload(model) as loaded:
        return await stalls(work())


async def render_template(model: str) -> list[float]:
    """A conversation of 2,000 messages, a million characters, which does not fit."""
    import glmq

    async def work() -> None:
        messages = [*question(LONG_TEXT * 6), {"role": "assistant", "content": LONG_TEXT * 6}]
        try:
            await (await loaded.achat(messages * 1000 + question(), max_tokens=1)).arun()
        except glmq.ContextFull:
            return

    with await glmq.aload(model) as loaded:
        return await stalls(work())


def question(text: str = "Tell me about the sea.") -> list[dict[str, str]]:
    """A conversation that begins."""
    return [{"role": "user", "content": text}]


WORK: dict[str, Callable[[str], Awaitable[list[float]]]] = {
    each.__name__: each for each in (nothing, load, stream, read_prompt, compile_grammar, render_template)
}


def main() -> None:
    """Measure each piece of work."""
    parser = argparse.ArgumentParser(description="How long an event loop stands still.")
    parser.add_argument("model", nargs="?", default="demo")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--work", choices=WORK, help="measure this alone, in this process")
    args = parser.parse_args()
    if args.work:
        late = asyncio.run(WORK[args.work](args.model))  # type: ignore[arg-type]
        print(json.dumps([max(late), statistics.quantiles(late, n=100)[98]]))
        return
    print("| beside the loop | longest stall, ms | 99th percentile, ms |\n| --- | --- | --- |")
    for name in WORK:
        longest, most = min(measured(name, args.model) for _ in range(args.repeat))
        print(f"| {name.replace('_', ' ')} | {longest * 1e3:.1f} | {most * 1e3:.1f} |", flush=True)


def measured(name: str, model: str) -> list[float]:
    """The longest stall and the 99th percentile of one piece of work, in a new process."""
    command = [sys.executable, __file__, model, "--work", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: list[float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
