"""Whether and how a model runs here: memory, experts, disk, tokens per second, and what would be better."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any

from glmq_kernels.errors import GlmqError
from glmq_kernels.jit.compilation import Progress
from glmq_kernels.machine.cores import check_threads
from glmq_kernels.strings.string_offsets import prepare

from ..argument_checks import check_count, check_memory
from ..memory_plan import parse_size, show_size
from ..model_settings import model_settings
from .figures import DiskSpeed
from .memory import MemoryForecast, forecast_memory
from .model_source import ModelSource, open_source
from .next_steps import NextStep, next_steps
from .routing import HitRates, hit_rates
from .speeds import Speeds
from .timing import ModelSpeeds, Range, answer_speed, disk_bytes_per_token, prompt_speed

PROMPT = 512
"""Tokens of the prompt whose speed is told, as of `glmq bench`."""

MOST_MEASURED = 512
"""Tokens of the largest batch that is measured; larger ones take about as long for a token."""


@dataclass(frozen=True)
class TimeForecast:
    """Tokens per second.

    prompt, answer: at the context's beginning. late_prompt, late_answer: at its end. memory_bandwidth,
    disk_bandwidth: bytes that they give in a second; of the disk None where nothing comes from there.
    """

    prompt: Range
    answer: Range
    late_prompt: Range
    late_answer: Range
    memory_bandwidth: float
    disk_bandwidth: float | None


@dataclass(frozen=True)
class Forecast:
    """What is to be expected of a model.

    model: what was asked for. is_here: whether its files are on this machine. file_bytes: of its tensors.
    disk_bytes: of experts, for each token of an answer. time: None where it does not run or nothing could be
    measured. why_no_time: the latter, in words. assumptions: what the figures rest on.
    """

    model: str
    architecture: str
    is_here: bool
    file_bytes: int
    n_parameters: int
    n_ctx: int
    cache_type: str
    n_threads: int
    memory: MemoryForecast
    hits: HitRates
    disk_bytes: Range
    time: TimeForecast | None
    why_no_time: str
    assumptions: list[str] = field(default_factory=list)
    next_steps: list[NextStep] = field(default_factory=list)

    @property
    def runs(self) -> bool:
        """Whether it runs here."""
        return self.memory.refusal is None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: amounts in bytes, speeds in tokens per second."""
        memory = self.memory
        return {
            "model": self.model,
            "architecture": self.architecture,
            "is_here": self.is_here,
            "file_bytes": self.file_bytes,
            "n_parameters": self.n_parameters,
            "n_ctx": self.n_ctx,
            "cache_type": self.cache_type.lower(),
            "n_threads": self.n_threads,
            "runs": self.runs,
            "refusal": None if memory.refusal is None else str(memory.refusal),
            "memory": {
                "budget": memory.budget,
                "total": memory.total,
                "dense_weights": memory.dense,
                "experts": memory.experts_kept,
                "kv_cache": memory.needs.kv_cache,
                "work": memory.work,
                "process": memory.process,
            },
            "batch": None if memory.plan is None else memory.plan.batch,
            "experts": {
                "n": memory.n_experts, "n_kept": memory.n_kept, "bytes_each": memory.expert_bytes,
                "found_in_memory": asdict(self.hits),
            },
            "disk_bytes_per_token": asdict(self.disk_bytes),
            "tokens_per_second": None if self.time is None else asdict(self.time),
            "why_no_speeds": self.why_no_time or None,
            "assumptions": self.assumptions,
            "next_steps": [asdict(step) for step in self.next_steps],
        }  # fmt: skip


def forecast(
    model: str | os.PathLike[str],
    *,
    n_ctx: int | None = None,
    ram: int | str | None = None,
    cache_type: str = "F16",
    activations: str = "auto",
    load: str = "mmap",
    n_threads: int | None = None,
    n_prompt: int = PROMPT,
    measure: bool = False,
    progress: Progress | None = None,
) -> Forecast:
    """Whether and how a model would run on this machine; nothing but headers is read of it.

    model: a GGUF file, the name of a demo model, or `owner/name:TAG` on the Hub. The other arguments are
    those of `glmq.load`. n_prompt: tokens of the prompt whose speed is told. measure: measure this machine
    again, of which figures are kept from earlier times.

    Raises GlmqError for what is no model that glmq runs on any machine; one that does not run on this one
    has a `refusal`.
    """
    check_memory("ram", ram)
    check_count("n_threads", n_threads)
    check_threads(n_threads)
    check_count("n_prompt", n_prompt)
    if progress:
        prepare(progress)
    with open_source(model, progress) as source:
        budget = parse_size(ram) if isinstance(ram, str) else ram
        settings = model_settings(source.file, n_ctx, n_threads, cache_type, activations, budget)
        threads, context = settings.n_threads, settings.n_ctx
        memory = forecast_memory(source.file, settings, load)
        hits = hit_rates(source.file, memory)
        time, why_no_time = None, ""
        if memory.refusal is None:
            try:
                with Speeds(threads, again=measure, progress=progress) as speeds:
                    time = _times(
                        source, memory, speeds, hits, min(n_prompt, context), context,
                        transcodes=load == "transcode",
                    )  # fmt: skip
            except (GlmqError, OSError, MemoryError) as error:
                why_no_time = str(error)
        return Forecast(
            model=os.fspath(model),
            architecture=source.file.text("general.architecture"),
            is_here=source.is_here,
            file_bytes=source.file.n_bytes,
            n_parameters=sum(info.n_elements for info in source.file.tensors.values()),
            n_ctx=context,
            cache_type=settings.cache_type,
            n_threads=threads,
            memory=memory,
            hits=hits,
            disk_bytes=disk_bytes_per_token(memory, hits),
            time=time,
            why_no_time=why_no_time,
            assumptions=_assumptions(memory, hits, time),
            next_steps=next_steps(source.file, memory, budget, source.others),
        )


def _times(
    source: ModelSource,
    memory: MemoryForecast,
    speeds: Speeds,
    hits: HitRates,
    n_prompt: int,
    n_ctx: int,
    *,
    transcodes: bool,
) -> TimeForecast:
    program = memory.program
    disk: DiskSpeed | None = None
    if memory.placement is not None:
        disk = speeds.disk(source.file) if source.is_here else speeds.disk_of_folder(source.folder)
    n_measured = min(n_prompt, MOST_MEASURED)
    found = ModelSpeeds(
        step=speeds.step(
            source.file,
            program.cache_shape.type,
            program.tape.activations,
            n_measured,
            transcodes=transcodes,
        ),
        n_prompt=n_measured,
        attention=speeds.attention(program.planner.n_heads, program.cache_shape),
        disk=disk,
    )
    return TimeForecast(
        prompt=prompt_speed(memory, found, n_prompt, 0),
        answer=answer_speed(memory, found, hits, 0),
        late_prompt=prompt_speed(memory, found, n_prompt, n_ctx - n_prompt),
        late_answer=answer_speed(memory, found, hits, n_ctx - 1),
        memory_bandwidth=speeds.memory().bandwidth,
        disk_bandwidth=disk.bandwidth if disk else None,
    )


def _assumptions(memory: MemoryForecast, hits: HitRates, time: TimeForecast | None) -> list[str]:
    """What the figures rest on, in words."""
    found = []
    if time is not None:
        found.append(
            "other programs leave the processor and the memory alone, as they did while this machine was"
            f" measured (memory {time.memory_bandwidth / 1e9:.1f} GB/s)"
        )
    if memory.refusal is None and memory.placement is None:
        found.append("the file is in the system's file cache; the first answer waits for the disk")
    if memory.placement is not None:
        if hits.known:
            found.append("experts are used as they were used here before")
        else:
            found.append("experts are used evenly at worst, some much more than others at best")
        if time is not None and time.disk_bandwidth is not None:
            found.append(f"the disk gives {show_size(time.disk_bandwidth)} a second, and nobody else uses it")
    return found
