"""What would let a model run here, or run better, most useful first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..experts.placement import show_budget
from ..gguf import GGUFFile
from ..memory_plan import Needs, show_size
from ..system_memory import available_memory
from .memory import MemoryForecast, plan_again

LEAST_BITS = 2.0
"""Of a weight, of quantizations that are offered: below that models lose much of what they know."""


@dataclass(frozen=True)
class OtherFile:
    """Another quantization of the same model. n_bytes: of all its parts."""

    name: str
    n_bytes: int


@dataclass(frozen=True)
class NextStep:
    """Something to do. setting: the argument of `glmq.load` that does it, with its value, if one does."""

    text: str
    setting: str | None = None
    value: str | int | None = None


def next_steps(
    file: GGUFFile, memory: MemoryForecast, ram: int | None, others: Callable[[], Sequence[OtherFile]]
) -> list[NextStep]:
    """Steps for a model that does not run, or of which not all is in memory; none for one that is.

    others: asked for other quantizations of the model where these would help.
    """
    if memory.refusal is None and memory.placement is None:
        return []
    known = others()
    steps = [
        *_smaller_cache(file, memory, ram),
        *(_smaller_file(file, memory, ram, known) if known else _size_that_fits(file, memory)),
    ]
    more_memory = _more_memory(memory)
    return [*steps, more_memory] if more_memory.setting is None else [more_memory, *steps]


def _more_memory(memory: MemoryForecast) -> NextStep:
    """As much as keeps a token's experts, or all of the model. A setting only where it is free."""
    if memory.placement is None:
        needed = memory.needs.dense + memory.needs.kv_cache + memory.needs.least_work + memory.process
        what = "lets it run"
    else:
        needed, what = memory.placement.next_budget, memory.placement.next_budget_holds
        what = f"holds {what}"
    free = available_memory()
    if free is not None and needed > free:
        return NextStep(f"{show_size(needed)} of memory, of which {show_size(free)} are free here: it {what}")
    return NextStep(f"{show_budget(needed)} of memory {what}", "ram", show_budget(needed))


def _smaller_cache(file: GGUFFile, memory: MemoryForecast, ram: int | None) -> Iterator[NextStep]:
    """Keys and values in less memory, or fewer of them."""
    shape, needs = memory.program.cache_shape, memory.needs
    for kept_as in ("Q8_0", "Q4_0"):
        kv_cache = replace(shape, type=kept_as).n_bytes(needs.n_ctx)
        gained = (
            _gain(file, memory, replace(needs, kv_cache=kv_cache), ram) if kv_cache < needs.kv_cache else ""
        )
        if gained:
            name, saved = kept_as.lower(), show_size(needs.kv_cache - kv_cache)
            yield NextStep(f"a KV cache of type {name} takes {saved} less: {gained}", "cache_type", name)
            break
    for n_ctx in (needs.n_ctx // 2, needs.n_ctx // 4, needs.n_ctx // 8):
        if n_ctx < 1024:
            return
        gained = _gain(file, memory, replace(needs, n_ctx=n_ctx, kv_cache=shape.n_bytes(n_ctx)), ram)
        if gained:
            yield NextStep(f"a context of {n_ctx}: {gained}", "n_ctx", n_ctx)
            return


def _gain(file: GGUFFile, memory: MemoryForecast, needs: Needs, ram: int | None) -> str:
    """What other needs would change; empty for little."""
    instead = plan_again(file, memory.program, needs, ram, memory.load)
    if instead.refusal is not None:
        return ""
    if memory.refusal is not None:
        return "then it runs" + ("" if instead.placement is None else ", with experts on disk")
    if instead.placement is None:
        return "then all of it is in memory"
    more = instead.n_kept - memory.n_kept
    return f"then {more} more experts stay" if more >= max(1, memory.n_experts // 50) else ""


def _smaller_file(
    file: GGUFFile, memory: MemoryForecast, ram: int | None, others: Sequence[OtherFile]
) -> Iterator[NextStep]:
    """The largest of the smaller quantizations that is in memory, else what the smallest would do."""
    needs = memory.needs
    smaller = [other for other in others if other.n_bytes < 0.98 * needs.weights]
    for other in sorted(smaller, key=lambda other: other.n_bytes, reverse=True):
        share = other.n_bytes / needs.weights
        scaled = replace(needs, weights=other.n_bytes, experts=int(share * needs.experts))
        instead = plan_again(file, memory.program, scaled, ram, memory.load)
        name = f"{other.name} ({show_size(other.n_bytes)})"
        if instead.refusal is None and instead.placement is None:
            yield NextStep(f"{name} would be in memory as a whole")
            return
    if smaller and memory.refusal is None:
        kept = min(memory.n_experts, int(memory.n_kept / share))
        yield NextStep(f"{name}, of which {kept} of {memory.n_experts} experts would stay")
    elif smaller and instead.refusal is None:
        yield NextStep(f"{name} would run, with experts on disk")


def _size_that_fits(file: GGUFFile, memory: MemoryForecast) -> Iterator[NextStep]:
    """How large a quantization may be that is in memory, if that leaves it enough bits."""
    needs = memory.needs
    n_bytes = memory.budget - needs.kv_cache - needs.least_work - memory.process
    bits = 8 * n_bytes / sum(info.n_elements for info in file.tensors.values())
    if bits >= LEAST_BITS:
        of_weight = f"{bits:.1f} bits a weight"
        yield NextStep(
            f"a quantization of at most {show_size(n_bytes)} ({of_weight}) would be in memory as a whole"
        )
