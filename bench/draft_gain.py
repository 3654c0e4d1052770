"""What a guess by the layer of multi-token prediction gains, where a known share of the guesses come true.

python bench/draft_gain.py [SHAPE | FILE ...] [--acceptance 0.85] [--tokens 96] [--rounds 5]

Shapes are air-N and flash-N, files of N layers of GLM-4.5-Air's and GLM-4.7-Flash's shape with their
vocabularies and the layer behind them, Q4_0, random weights; by default air-3. Each is loaded without drafts
and with them, both in one process and in turn: the same greedy answer, of which the one with drafts checks a
guess with each token. What is checked is simulated, the layer works all the same, and only frequent tokens
are written, of which the layer's head for drafts misses none. Rows of docs/numbers.md: tokens per second,
medians; how many times as fast with drafts, the median and the range. Before them: milliseconds of a step of
one token, of two, and of a guess.
"""

from __future__ import annotations

import argparse
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from glmq_kernels.jit.cache_folder import cache_folder

import glmq
from bench.numbers_page import machine
from bench.synthetic import write_air, write_flash
from glmq.answer_costs import Timings
from glmq.drafting.simulation import FrequentTokens, Simulation

PROMPT = 64
WRITERS = {"air": (write_air, 151_552), "flash": (write_flash, 154_880)}
"""What writes a shape, and the tokens of the model's vocabulary."""


def file_of(name: str) -> Path:
    """A file by its path, or that of a shape, written unless it is there."""
    shape = re.fullmatch(r"(air|flash)-(\d+)", name)
    if shape is None:
        return Path(name)
    write, vocab_size = WRITERS[shape[1]]
    path = cache_folder() / "bench" / f"{shape[1]}-Q4_0-{shape[2]}-mtp.gguf"
    return write(path, n_layers=int(shape[2]), vocab_size=vocab_size, mtp=True)


def answers(path: Path, acceptance: float, n_tokens: int, n_rounds: int) -> Iterator[tuple[Timings, Timings]]:
    """What each round's answer cost without drafts and with them; the first round, a warm-up, left out."""
    rng = np.random.default_rng(0)
    with path.open("rb") as file:  # into memory, so that nobody waits for the disk
        while file.read(1 << 26):
            pass
    with (
        glmq.load(path, draft="off", n_ctx=2048) as plain,
        glmq.load(path, draft="mtp", n_ctx=2048) as drafted,
    ):
        sampling = glmq.Sampling(temperature=0, repeat_penalty=1, presence_penalty=0, frequency_penalty=0)
        guide = FrequentTokens()
        drafting = drafted.drafting
        assert drafting is not None
        drafting.n_most = 1
        for i in range(n_rounds + 1):
            prompt = rng.integers(0, plain.n_vocab, PROMPT).tolist()
            without = plain.generate(prompt, sampling=sampling, max_tokens=n_tokens, constraint=guide)
            without.run()
            drafting.simulation = Simulation(without.tokens, acceptance, seed=i)
            answer = drafted.generate(prompt, sampling=sampling, max_tokens=n_tokens, constraint=guide)
            answer.run()
            if answer.tokens != without.tokens:
                raise SystemExit("the answers differ")
            if i:
                yield without.timings, answer.timings
        costs, guess = drafting._experience.costs, drafting._experience._guess_seconds.get("simulation", 0.0)
        one, two = (1e3 * (costs.estimate(n) or 0.0) for n in (1, 2))
        print(f"{path.stem}: a step of one token {one:.1f} ms, of two {two:.1f}, a guess {1e3 * guess:.1f}")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", nargs="*", default=["air-3"])
    parser.add_argument("--acceptance", type=float, default=0.85)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{machine()}; {options.acceptance} of the guesses come true\n")
    print("| file | without | with drafts | times as fast | came true |")
    print("| --- | --- | --- | --- | --- |")
    for name in options.what:
        path = file_of(name)
        rounds = list(answers(path, options.acceptance, options.tokens, options.rounds))
        plain, drafted = (statistics.median(pair[i].decode_per_second for pair in rounds) for i in (0, 1))
        gains = [pair[1].decode_per_second / pair[0].decode_per_second for pair in rounds]
        n_accepted, n_drafted = (
            sum(getattr(pair[1], each) for pair in rounds) for each in ("n_accepted", "n_drafted")
        )
        print(
            f"| {name} | {plain:.1f} | {drafted:.1f} | {statistics.median(gains):.2f} ({min(gains):.2f} to"
            f" {max(gains):.2f}) | {n_accepted} of {n_drafted} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
