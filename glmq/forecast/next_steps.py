"""What would let a model run here, or run better, most useful first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..experts.placement import show_budget
from ..gguf import GGUFFile
from ..memory_plan import Needs, show_size
from ..system_memory import available_memory
from .memory import MemoryForecast, plan_again


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
    return [
        *_more_memory(memory),
        *_smaller_cache(file, memory, ram),
        *_smaller_file(file, memory, ram, others()),
    ]


def _more_memory(memory: MemoryForecast) -> Iterator[NextStep]:
    """As much as keeps a token's experts, or all of the model."""
    if memory.placement is None:
        needed = memory.needs.dense + memory.needs.kv_cache + memory.needs.least_work + memory.process
        what = "lets it run"
    else:
        needed, what = memory.placement.next_budget, memory.placement.next_budget_holds
        what = f"holds {what}"
    free = available_memory()
    here = "" if free is None or needed <= free else f", more than the {show_size(free)} that are free here"
    yield NextStep(f"{show_budget(needed)} of memory {what}{here}", "ram", show_budget(needed))


def _smaller_cache(file: GGUFFile, memory: MemoryForecast, ram: int | None) -> Iterator[NextStep]:
    """Keys and values in half the memory, or fewer of them."""
    shape, needs = memory.program.cache_shape, memory.needs
    if shape.type != "Q8_0":
        kv_cache = replace(shape, type="Q8_0").n_bytes(needs.n_ctx)
        gained = _gain(file, memory, replace(needs, kv_cache=kv_cache), ram)
        if gained:
            saved = show_size(needs.kv_cache - kv_cache)
            yield NextStep(f"a KV cache of type q8_0 takes {saved} less: {gained}", "cache_type", "q8_0")
    for n_ctx in (needs.n_ctx // 2, needs.n_ctx // 4, needs.n_ctx // 8):
        if n_ctx < 1024:
            return
        gained = _gain(file, memory, replace(needs, n_ctx=n_ctx, kv_cache=shape.n_bytes(n_ctx)), ram)
        if gained:
            yield NextStep(f"a context of {n_ctx}: {gained}", "n_ctx", n_ctx)
            return


def _gain(file: GGUFFile, memory: MemoryForecast, needs: Needs, ram: int | None) -> str:
    """What other needs would change; empty for little."""
    instead = plan_again(file, memory.program, needs, ram)
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
    """The largest of the smaller quantizations that is in memory, or that runs."""
    needs = memory.needs
    smaller = [other for other in others if other.n_bytes < 0.98 * needs.weights]
    for other in sorted(smaller, key=lambda other: other.n_bytes, reverse=True):
        share = other.n_bytes / needs.weights
        scaled = replace(needs, weights=other.n_bytes, experts=int(share * needs.experts))
        instead = plan_again(file, memory.program, scaled, ram)
        if instead.refusal is None and instead.placement is None:
            yield NextStep(f"{other.name} ({show_size(other.n_bytes)}) would be in memory as a whole")
            return
