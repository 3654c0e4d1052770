"""What a part of `glmq.experts.offload` is worth: the same without it, for bench/measure.py --without."""

from __future__ import annotations

from glmq_kernels.threads.tape import Tape
from glmq_kernels.threads.thread_pool import ThreadPool

from glmq.experts.expert_layer import ExpertLayer
from glmq.experts.offload import ExpertOffload


class WithoutOverlap(ExpertOffload):
    """A token's experts are computed when all of them are there, not before."""

    def _one_token(self, layer: ExpertLayer, tape: Tape, thread_pool: ThreadPool) -> str:
        wanted = [(layer.index, expert) for expert in layer.routing.chosen[0].tolist()]
        present = self._look_up(wanted)
        arriving = {
            expert: self._ask(layer, expert, wanted) for expert in wanted if expert not in set(present)
        }
        while arriving:
            for expert in self._await_some(arriving):
                self._fetching.arrive(arriving.pop(expert))
        return layer.sections.shared_gate_up


class WithoutPrefetching(ExpertOffload):
    """The next layer's experts are not asked for early."""

    def _prefetch(self, *args: object) -> None:
        pass


VARIANTS = {"overlap": WithoutOverlap, "prefetching": WithoutPrefetching}


def leave_out(part: str, offload: ExpertOffload) -> None:
    """Have the offloading of experts do without its overlap or its prefetching."""
    offload.__class__ = VARIANTS[part]
