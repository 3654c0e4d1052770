"""What a part of `glmq.experts.residency` is worth: the same without it, for bench/measure.py --without."""

from __future__ import annotations

from glmq_kernels.threads.tape import Tape
from glmq_kernels.threads.thread_pool import ThreadPool

from glmq.experts.residency import Residency
from glmq.experts.slab import ExpertLayer


class WithoutOverlap(Residency):
    """A token's experts are computed when all of them are there, not before."""

    def _one_token(self, layer: ExpertLayer, tape: Tape, thread_pool: ThreadPool) -> int:
        wanted = [(layer.index, expert) for expert in layer.routing.chosen[0].tolist()]
        present = self._look_up(wanted)
        arriving = {
            expert: self._ask(layer, expert, wanted) for expert in wanted if expert not in set(present)
        }
        while arriving:
            for expert in self._await_some(arriving):
                self._fetching.arrive(arriving.pop(expert))
        return layer.shared


class WithoutGuesses(Residency):
    """The next layer's experts are not asked for early."""

    def _guess(self, *args: object) -> None:
        pass


VARIANTS = {"overlap": WithoutOverlap, "guesses": WithoutGuesses}


def leave_out(part: str, residency: Residency) -> None:
    """Have a residency do without its overlap or its guesses."""
    residency.__class__ = VARIANTS[part]
