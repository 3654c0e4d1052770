"""Which experts should stay in memory? Replays routing traces through policies and budgets, without weights.

python bench/expert_cache.py [TRACE.npy ...] [--plot FILE.svg]

A trace is int16 (tokens, layers, experts), as `--record-routing` writes it. Without one, synthetic traces
of GLM-4.5-Air's shape with stated skew (exponent of Zipf's law over a layer's experts) and locality
(share of a token's experts that the token before it used) are replayed.
"""

from __future__ import annotations

import argparse
import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glmq.experts.expert_cache import Expert, ExpertCache
from glmq.experts.trace import NOT_CHOSEN

N_LAYERS, N_EXPERTS, TOP_K, N_TOKENS = 45, 128, 8, 200
SYNTHETIC = ((0.0, 0.0), (0.6, 0.0), (0.6, 0.3), (1.0, 0.3))
"""Pairs of skew and locality."""

BUDGETS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0, 12.0)
"""Slots in cycles, a cycle being all experts that one token uses."""


def synthetic_trace(skew: float, locality: float, seed: int = 0) -> np.ndarray:
    """Choices, int16 (N_TOKENS, N_LAYERS, TOP_K)."""
    rng = np.random.default_rng(seed)
    trace = np.zeros((N_TOKENS, N_LAYERS, TOP_K), np.int16)
    for layer in range(N_LAYERS):
        logits = np.log(rng.permutation((1.0 + np.arange(N_EXPERTS)) ** -skew))
        for token in range(N_TOKENS):
            # Gumbel noise makes the largest a draw without replacement by popularity.
            scores = logits + rng.gumbel(size=N_EXPERTS)
            if token:
                before = trace[token - 1, layer]
                scores[before[rng.random(TOP_K) < locality]] += 1e3
            trace[token, layer] = np.argpartition(-scores, TOP_K)[:TOP_K]
    return trace


def steps_of(trace: np.ndarray) -> list[list[Expert]]:
    """The experts wanted together, in the order of time."""
    return [
        [(layer, expert) for expert in chosen]
        for token in trace.tolist()
        for layer, chosen in enumerate(token)
        if chosen[0] != NOT_CHOSEN
    ]


def glmq_policy(steps: Sequence[list[Expert]], n_layers: int, n_slots: int) -> float:
    """In each layer the expert goes whose uses, older ones counting less, are fewest."""
    n_experts = 1 + max(expert for wanted in steps for _, expert in wanted)
    cache, hits = ExpertCache(n_layers, n_experts, n_slots), 0
    for wanted in steps:
        if wanted[0][0] == 0:
            cache.count_tokens(1)
        missing = [expert for expert in wanted if cache.use(expert) is None]
        hits += len(wanted) - len(missing)
        for expert in missing:
            cache.admit(expert, wanted)
    return hits / sum(map(len, steps))


def recency(steps: Sequence[list[Expert]], n_layers: int, n_slots: int) -> float:
    """The least recently used of all layers' experts goes."""
    return _recency(steps, [n_slots], lambda layer: 0)


def recency_by_layer(steps: Sequence[list[Expert]], n_layers: int, n_slots: int) -> float:
    """Each layer has a share of the slots; its least recently used expert goes."""
    shares = [n_slots // n_layers + (i < n_slots % n_layers) for i in range(n_layers)]
    return _recency(steps, shares, lambda layer: layer)


def _recency(steps: Sequence[list[Expert]], sizes: list[int], group_of: Callable[[int], int]) -> float:
    groups: list[OrderedDict[Expert, None]] = [OrderedDict() for _ in sizes]
    hits = 0
    for wanted in steps:
        group = group_of(wanted[0][0])
        held, size = groups[group], sizes[group]
        hits += sum(expert in held for expert in wanted)
        for expert in wanted:
            held[expert] = None
            held.move_to_end(expert)
            if len(held) > size:
                held.popitem(last=False)
    return hits / sum(map(len, steps))


def frequency(steps: Sequence[list[Expert]], n_layers: int, n_slots: int) -> float:
    """The expert goes that was used least often so far."""
    uses: Counter[Expert] = Counter()
    held: set[Expert] = set()
    heap: list[tuple[int, Expert]] = []
    hits = 0
    for wanted in steps:
        for expert in wanted:
            uses[expert] += 1
            hits += expert in held
        for expert in wanted:
            if expert not in held:
                while len(held) >= n_slots:
                    count, victim = heapq.heappop(heap)
                    if victim in held and count != uses[victim]:
                        heapq.heappush(heap, (uses[victim], victim))
                    else:
                        held.discard(victim)
                held.add(expert)
                heapq.heappush(heap, (uses[expert], expert))
    return hits / sum(map(len, steps))


def frozen(steps: Sequence[list[Expert]], n_layers: int, n_slots: int) -> float:
    """The experts used most in the first half stay for good. Counted over the second half."""
    half = len(steps) // n_layers // 2 * n_layers
    uses = Counter(expert for wanted in steps[:half] for expert in wanted)
    held = {expert for expert, _ in uses.most_common(n_slots)}
    return sum(expert in held for wanted in steps[half:] for expert in wanted) / sum(map(len, steps[half:]))


def optimum(steps: Sequence[list[Expert]], n_layers: int, n_slots: int) -> float:
    """The expert goes that will be wanted last (Belady): no policy finds more, but none can know this."""
    upcoming: dict[Expert, list[int]] = {}
    for i in range(len(steps) - 1, -1, -1):
        for expert in steps[i]:
            upcoming.setdefault(expert, []).append(i)
    held: dict[Expert, int] = {}
    heap: list[tuple[int, Expert]] = []
    hits = 0
    for wanted in steps:
        for expert in wanted:
            upcoming[expert].pop()
            after = upcoming[expert][-1] if upcoming[expert] else len(steps)
            hits += expert in held
            while expert not in held and len(held) >= n_slots:
                when, victim = heapq.heappop(heap)
                if held.get(victim) == -when:
                    del held[victim]
            held[expert] = after
            heapq.heappush(heap, (-after, expert))
    return hits / sum(map(len, steps))


@dataclass(frozen=True)
class Policy:
    """A way to choose which expert goes."""

    name: str
    hit_rate: Callable[[Sequence[list[Expert]], int, int], float]


POLICIES = (
    Policy("glmq", glmq_policy),
    Policy("recency of all", recency),
    Policy("recency by layer", recency_by_layer),
    Policy("frequency", frequency),
    Policy("frozen", frozen),
    Policy("optimum", optimum),
)


def replay(trace: np.ndarray) -> dict[str, list[float]]:
    """Hit rates of all policies, for each of BUDGETS that is smaller than all experts."""
    steps, n_layers = steps_of(trace), trace.shape[1]
    return {
        policy.name: [policy.hit_rate(steps, n_layers, n_slots) for n_slots in budgets_of(trace)]
        for policy in POLICIES
    }


def budgets_of(trace: np.ndarray) -> list[int]:
    """Numbers of slots."""
    cycle = trace.shape[1] * trace.shape[2]
    n_experts = trace.shape[1] * (int(trace.max()) + 1)
    return [int(cycle * budget) for budget in BUDGETS if cycle * budget <= n_experts]


def table(trace: np.ndarray, found: dict[str, list[float]]) -> str:
    """Hit rates in per cent: a row for each policy."""
    cycle = trace.shape[1] * trace.shape[2]
    head = [f"{n_slots / cycle:g}" for n_slots in budgets_of(trace)]
    rows = [["slots in cycles", *head], ["---"] * (len(head) + 1)]
    rows += [[name, *(f"{100 * rate:.0f}" for rate in rates)] for name, rates in found.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def plot(path: Path, results: dict[str, tuple[np.ndarray, dict[str, list[float]]]]) -> None:
    """Hit rate against budget, a picture for each trace."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, places = pyplot.subplots(
        1, len(results), figsize=(4 * len(results), 3.5), sharey=True, squeeze=False
    )
    for place, (title, (trace, found)) in zip(places[0], results.items(), strict=True):
        cycle = trace.shape[1] * trace.shape[2]
        for name, rates in found.items():
            place.plot([n / cycle for n in budgets_of(trace)], rates, label=name, marker=".")
        place.set(title=title, xlabel="slots, in cycles of one token", xscale="log")
    places[0][0].set_ylabel("share of experts found in memory")
    places[0][0].legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Replay and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("traces", type=Path, nargs="*", metavar="TRACE.npy")
    parser.add_argument("--plot", type=Path, help="also draw hit rates against budgets")
    args = parser.parse_args()
    traces = {path.name: np.load(path) for path in args.traces} or {
        f"skew {skew}, locality {locality}": synthetic_trace(skew, locality) for skew, locality in SYNTHETIC
    }
    results = {}
    for title, trace in traces.items():
        results[title] = (trace, replay(trace))
        print(f"{title}\n\n{table(*results[title])}\n", flush=True)
    if args.plot:
        plot(args.plot, results)


if __name__ == "__main__":
    main()
