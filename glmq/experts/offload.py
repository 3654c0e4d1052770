"""A batch's way through the layers when routed experts are only partly in memory.

After a layer's routing the experts that its tokens want are looked up, and those that are not there are
asked for. One token: meanwhile the shared expert and the routed ones that are there are computed, then
the others as they arrive. Many tokens: experts in the order of the file, a group being read while the one
before it is computed. Sums are formed in the same order as when everything is in memory, so the results
are the same to the last bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np
from glmq_kernels.ops.batch_state import N_TOKENS
from glmq_kernels.ops.operands import Routing
from glmq_kernels.threads.tape import Tape
from glmq_kernels.threads.thread_pool import ThreadPool

from ..tape_sections import END_WITHOUT_OUTPUTS
from .expert_cache import Expert, ExpertCache
from .expert_layer import ExpertLayer
from .fetching import Fetch, Fetching
from .statistics import ExpertStatistics

Key = TypeVar("Key", bound=Hashable)
OnRouting = Callable[[ExpertLayer], None]
"""Called after a layer's routing with the layer and the number of tokens."""

MOST_WARMED = 16384
"""Experts that can be on their way at once."""

PREFETCHED = 2
"""Experts of the next layer that one token asks for at most before it is known which it wants."""


class ExpertOffload:
    """Which experts are in memory, for the program that runs with them.

    cache: who has which of the slots. uses: of each expert so far, int64 (n_layers, n_experts).
    """

    def __init__(self, layers: Sequence[ExpertLayer], fetching: Fetching, cache: ExpertCache) -> None:
        self.statistics = ExpertStatistics()
        self.cache = cache
        self.uses = np.zeros((len(layers), layers[0].routing.n_experts), np.int64)
        self._layers, self._fetching = layers, fetching
        self._prefetch_score = PrefetchScore()
        self._unfinished = False
        self._all_fit = cache.n_slots >= self.uses.size

    def run(
        self,
        tape: Tape,
        thread_pool: ThreadPool,
        end: str | None = None,
        on_routing: OnRouting | None = None,
        goes_on: Callable[[], bool] = lambda: True,
    ) -> bool:
        """Run the tape, up to section `end`, for the batch that its state describes.

        goes_on: asked in each layer; when it says no the run is given up, and this gives False. Raises
        GlmqError when experts cannot be read. Whatever ends it early, the next run puts right.
        """
        began = time.perf_counter()
        self.cache.count_tokens(int(tape.state[N_TOKENS]))
        if self._fetching.pending or self._unfinished:
            self.settle()
        self._unfinished = True
        read_before = self._fetching.bytes_read
        start = None
        for layer in self._layers[:-1] if end == END_WITHOUT_OUTPUTS else self._layers:
            tape.run(thread_pool, start, layer.sections.prefetch)
            self._fetching.free_passing()
            n_tokens = int(tape.state[layer.part.count_slot])
            if on_routing is not None:
                on_routing(layer)
            if not goes_on():
                return False
            if n_tokens == 1:
                start = self._one_token(layer, tape, thread_pool)
            else:
                start = self._many_tokens(layer, tape, thread_pool)
        tape.run(thread_pool, start, end)
        self._unfinished = False
        self.statistics.tokens += int(tape.state[N_TOKENS])
        self.statistics.bytes_read += self._fetching.bytes_read - read_before
        self.statistics.run_seconds += time.perf_counter() - began
        return True

    def warm(self, earlier: Mapping[Expert, float]) -> None:
        """Read what earlier sessions used most in the background, until the first batch."""
        for expert, uses in earlier.items():
            self.cache.expect(expert, uses)
        for expert in islice(earlier, MOST_WARMED):
            if self.cache.slot(expert) is None and self.cache.room(expert[0]):
                slot = self.cache.admit(expert)
                self._fetching.begin(self._layers[expert[0]], expert, slot, idle=True)

    @property
    def n_arriving(self) -> int:
        """Experts that have been asked for and are not there yet."""
        return sum(not self._fetching.is_there(fetch) for fetch in self._fetching.pending.values())

    def settle(self) -> None:
        """Wait for what is being read, and forget what a run that did not end has left."""
        self._fetching.settle()
        for layer in self._layers:
            layer.routing.select_all()

    def _look_up(self, wanted: Sequence[Expert], shares: Sequence[float] = ()) -> list[Expert]:
        """Those of one layer's experts that are there. All count as used, by `shares` (all) of the tokens.

        Of the prefetched ones those that are wanted stay pending, the others are given up.
        """
        self._fetching.drop_idle()
        present = []
        for i, expert in enumerate(wanted):
            self.uses[expert] += 1
            slot = self.cache.use(expert, shares[i] if shares else 1.0)
            early = self._fetching.pending.get(expert)
            if early is not None:
                early.prefetched = False
                self.statistics.prefetched_rightly += 1
                self.statistics.prefetched_in_time += self._fetching.is_there(early)
                self._prefetch_score.count(wanted=True)
            if slot is not None:
                present.append(expert)
        for fetch in [fetch for fetch in self._fetching.pending.values() if fetch.prefetched]:
            self._prefetch_score.count(wanted=False)
            self._fetching.abandon(fetch)
        self.statistics.hits += len(present)
        self.statistics.misses += len(wanted) - len(present)
        return present

    def _one_token(self, layer: ExpertLayer, tape: Tape, thread_pool: ThreadPool) -> str:
        """The routed experts of one token. Gives the section to go on with."""
        routing, sections = layer.routing, layer.sections
        wanted = [(layer.index, expert) for expert in routing.chosen[0].tolist()]
        present = self._look_up(wanted)
        arriving = {
            choice: self._ask(layer, expert, wanted)
            for choice, expert in enumerate(wanted)
            if expert not in present
        }
        if layer.prefetch_routing is not None and not self._all_fit and self._prefetch_score.worth_it():
            tape.run_section(thread_pool, sections.prefetch)
            likeliest = likeliest_first(layer.prefetch_routing)
            self._prefetch(self._layers[layer.index + 1], likeliest, PREFETCHED)
        if not arriving:
            return sections.shared_gate_up
        routing.select_choices([wanted.index(expert) for expert in present])
        tape.run(
            thread_pool,
            sections.shared_gate_up,
            sections.down if present else sections.routed_gate_up,
        )
        while arriving:
            arrived = self._await_some(arriving)
            routing.select_choices(arrived)
            for choice in arrived:
                self._fetching.arrive(arriving.pop(choice))
            tape.run_section(thread_pool, sections.routed_gate_up)
        routing.select_all()
        return sections.down

    def _ask(self, layer: ExpertLayer, expert: Expert, wanted: Sequence[Expert]) -> Fetch:
        """Ask for an expert; it stays unless all slots it could have are wanted now."""
        pending = self._fetching.pending.get(expert)
        if pending is not None:
            self._fetching.keep(pending, wanted)
            return pending
        return self._fetching.begin(layer, expert, self.cache.admit(expert, wanted))

    def _prefetch(self, layer: ExpertLayer, experts: Iterable[int], most: int) -> None:
        """Ask for experts that the next layer is likely to want, once the disk has nothing else to do."""
        absent = [
            (layer.index, expert)
            for expert in experts
            if self.cache.slot((layer.index, expert)) is None
            and (layer.index, expert) not in self._fetching.pending
        ]
        for expert in absent[: min(most, self._fetching.n_spare)]:
            self._fetching.begin(layer, expert, None, idle=True, prefetched=True)
            self.statistics.prefetched += 1

    def _await_some(self, arriving: Mapping[Key, Fetch]) -> list[Key]:
        """Wait until at least one is there; gives all that are."""
        began = time.perf_counter()
        while True:
            seen = self._fetching.n_finished
            arrived = [key for key, fetch in arriving.items() if self._fetching.is_there(fetch)]
            if arrived:
                self.statistics.wait_seconds += time.perf_counter() - began
                return arrived
            self._fetching.wait(seen)

    def _many_tokens(self, layer: ExpertLayer, tape: Tape, thread_pool: ThreadPool) -> str:
        """The routed experts of a batch, in order. Gives the section to go on with."""
        routing, sections = layer.routing, layer.sections
        counts = np.diff(routing.offsets)
        wanted = [(layer.index, expert) for expert in np.flatnonzero(counts).tolist()]
        n_tokens = int(tape.state[layer.part.count_slot])
        present = set(self._look_up(wanted, [counts[expert] / n_tokens for _, expert in wanted]))
        if len(present) == len(wanted):
            return sections.shared_gate_up
        missing = [expert for expert in wanted if expert not in present]
        busiest = sorted(missing, key=self.cache.uses, reverse=True)
        stay = set(busiest[: self.cache.room(layer.index)])
        half = self._fetching.n_staging // 2
        groups = list(_groups(missing, half, routing.n_experts))
        self._fetching.abandon_others([expert for _, members in groups[:2] for expert in members])
        asked = [self._ask_all(layer, groups[0][1], stay)]
        prefetches = layer.prefetch_routing is not None and self._prefetch_score.worth_it()
        if prefetches:
            tape.run_section(thread_pool, sections.prefetch)
        tape.run_section(thread_pool, sections.shared_gate_up)
        for i, (experts, members) in enumerate(groups):
            if i + 1 < len(groups):
                asked.append(self._ask_all(layer, groups[i + 1][1], stay))
            elif prefetches:
                self._prefetch_group(layer)
            while asked[i]:
                for expert in self._await_some(asked[i]):
                    self._fetching.arrive(asked[i].pop(expert))
            routing.select_experts(experts)
            tape.run_section(thread_pool, sections.routed_gate_up)
            tape.run_section(thread_pool, sections.down)
            self._keep_busiest(layer.index, members, experts.stop)
            self._fetching.free_passing()
        if prefetches:
            self._prefetch_group(layer)
        routing.select_all()
        return sections.after

    def _prefetch_group(self, layer: ExpertLayer) -> None:
        """Ask for as many experts as a group has that the next layer is likely to want of a batch."""
        if layer.prefetch_routing is not None:
            likely = np.flatnonzero(np.diff(layer.prefetch_routing.offsets)).tolist()
            self._prefetch(self._layers[layer.index + 1], likely, self._fetching.n_staging // 2)

    def _ask_all(
        self, layer: ExpertLayer, members: Sequence[Expert], stay: Container[Expert]
    ) -> dict[Expert, Fetch]:
        asked = {}
        for expert in members:
            fetch = self._fetching.pending.get(expert)
            if fetch is None:
                slot = self.cache.admit(expert) if expert in stay else None
                fetch = self._fetching.begin(layer, expert, slot)
            elif expert in stay:
                self._fetching.keep(fetch, ())
            asked[expert] = fetch
        return asked

    def _keep_busiest(self, layer: int, members: Sequence[Expert], done: int) -> None:
        """Let experts that pass through stay instead of ones that have been used less.

        Only those that come before expert `done` may go: the batch needs the others yet.
        """
        passing = [expert for expert in members if expert in self._fetching.passing]
        residents = sorted(
            (expert for expert in self.cache.of_layer(layer) if expert[1] < done), key=self.cache.uses
        )
        for expert in sorted(passing, key=self.cache.uses, reverse=True):
            if not residents or self.cache.uses(residents[0]) >= self.cache.uses(expert):
                return
            self._fetching.keep_instead(residents.pop(0), expert)


def likeliest_first(routing: Routing) -> list[int]:
    """The experts of a single token, those with the greatest weights first."""
    order = np.argsort(-routing.weights[0], kind="stable")
    chosen: list[int] = routing.chosen[0][order].tolist()
    return chosen


def _groups(missing: Sequence[Expert], size: int, n_experts: int) -> Iterator[tuple[range, Sequence[Expert]]]:
    """Ranges of experts that together are all, each with up to `size` of the missing ones."""
    first = 0
    for at in range(0, len(missing), size):
        last = missing[at + size][1] if at + size < len(missing) else n_experts
        yield range(first, last), missing[at : at + size]
        first = last


class PrefetchScore:
    """Whether what was prefetched has been wanted often enough to go on with it."""

    WANTED = 0.5
    PAUSE = 2000

    def __init__(self) -> None:
        self._rate = 1.0
        self._pause = 0

    def count(self, *, wanted: bool) -> None:
        """Take note of a prefetched expert's fate."""
        self._rate += 0.01 * (wanted - self._rate)
        if self._rate < self.WANTED:
            self._rate, self._pause = 0.75, self.PAUSE

    def worth_it(self) -> bool:
        """Whether to prefetch for the next layer; after a bad time not for as many layers as PAUSE says."""
        self._pause = max(0, self._pause - 1)
        return self._pause == 0
