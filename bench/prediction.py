"""Multi-token prediction: what a step of the layer costs, and how often a trained layer is right.

python bench/prediction.py cost [FILE]          a file with such a layer, by default one of Air's shape
python bench/prediction.py acceptance FOLDER    a checkpoint with held-out text and conversations beside it

`cost` tells milliseconds: of a layer of experts, the head, a step of the layer with the logits of all tokens,
a draft, which chooses among likely tokens, and the rows of one token and of a prompt of 512. `acceptance`
converts the checkpoint and tells how often the layer's likeliest token is the trunk's, of a text and of
conversations.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from glmq_convert.conversion import convert
from glmq_kernels.arrays import copy_of, zeros
from glmq_kernels.jit.cache_folder import cache_folder

import glmq
from glmq.batch import SequencePart
from glmq.gguf import open_gguf
from glmq.kv_cache.sequence import Sequence as TokenSequence
from glmq.tape_sections import FINAL_NORM

PROMPT = 512
DEPTH = 64
TRIES = 15
WINDOW = 1024
VOCABULARY = 151_552
"""Tokens of GLM-4.5-Air: what the head costs beside a layer."""


def load_predicting(path: Path) -> glmq.Model:
    """A model with the layer that its file has."""
    file = open_gguf(path)
    return glmq.Model(file, prediction=file, n_ctx=2048, activations="int8")


def cost(path: Path) -> Iterator[str]:
    """Rows of a table."""
    with load_predicting(path) as model:
        engine, rng = model._engine, np.random.default_rng(0)
        session = model.session()
        session.evaluate(rng.integers(0, 1000, DEPTH).tolist())
        session.evaluate([1])
        tape, pool, prediction = engine._program.tape, engine._thread_pool, engine._prediction
        layers = engine._program.layers
        layer, following = layers[1], layers[2]  # the first is dense, the last ends with the outputs
        sequence, logits = session.sequence, zeros((1, engine.n_vocab), np.float32)
        sequence.reserve(PROMPT)
        tokens = copy_of(rng.integers(0, 1000, PROMPT), np.int64)
        states = rng.standard_normal((PROMPT, len(sequence.hidden.rows[0])), np.float32)
        one, prompt = (
            SequencePart(tokens[:n], len(sequence.tokens), sequence.page_table, 1, in_rows=n == 1)
            for n in (1, PROMPT)
        )
        engine._program.set_batch([one], logits)
        runs: dict[str, Callable[[], object]] = {
            "a layer of experts": lambda: tape.run(pool, layer, following),
            "the final norm and the head": lambda: tape.run(pool, FINAL_NORM),
            "a step of the layer, all logits": lambda: prediction.predict(pool, [one], states[:1], logits),
            "a draft of one token": lambda: session.draft([1], 1),
            "the layer's row of a token": lambda: prediction.store(pool, [one], states[:1]),
            f"its rows of {PROMPT} tokens": lambda: prediction.store(pool, [prompt], states),
        }
        seconds = {name: list[float]() for name in runs}
        for _ in range(TRIES):
            for name, run in runs.items():
                began = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - began)
        for name, found in seconds.items():
            yield f"| {name} | {1e3 * statistics.median(found):.2f} |"
        engine._program.set_batch([prompt], logits)
        found = []
        for _ in range(5):
            began = time.perf_counter()
            tape.run(pool, layer, following)
            found.append(time.perf_counter() - began)
        yield f"| a layer of experts of {PROMPT} tokens | {1e3 * statistics.median(found):.2f} |"


def acceptance(folder: Path, *, in_llama_cpp: bool) -> Iterator[str]:
    """Lines about the text and the conversations."""
    with tempfile.TemporaryDirectory() as place:
        path = convert(folder, Path(place) / "model.gguf", "bf16")
        with load_predicting(path) as model:
            yield from _acceptance(folder, model, partial(agreements, model))
            if in_llama_cpp:
                from llama_cpp_prediction import LlamaCppPrediction

                peer = LlamaCppPrediction(path)

                def agree(tokens: Sequence[int]) -> np.ndarray:
                    of_trunk, of_layer = (logits.argmax(axis=1) for logits in peer.logits(tokens[:-1]))
                    return np.asarray(of_trunk == of_layer)[1:]

                yield "llama.cpp on the same file:"
                yield from _acceptance(folder, model, agree)
                peer.close()


def _acceptance(
    folder: Path, model: glmq.Model, agree: Callable[[Sequence[int]], np.ndarray]
) -> Iterator[str]:
    text = model.tokenize((folder / "heldout_text.txt").read_text())
    agreed = np.concatenate([agree(text[i : i + WINDOW]) for i in range(0, len(text) - 2, WINDOW)])
    yield f"text: {agreed.mean():.3f} of {len(agreed)} tokens"
    of_all, of_answers = [], []
    for conversation in json.loads((folder / "heldout_conversations.json").read_text()):
        tokens, answers = rendered(model, conversation)
        of_all.append(agree(tokens))
        of_answers.append(of_all[-1][[place - 2 for place in answers]])
    for name, found in (("conversations", of_all), ("their answers", of_answers)):
        yield f"{name}: {np.concatenate(found).mean():.3f} of {sum(map(len, found))} tokens"


def agreements(model: glmq.Model, tokens: Sequence[int]) -> np.ndarray:
    """Of each place from the third on, whether the layer's likeliest token is the trunk's, bool (n - 2,)."""
    of_layer, of_trunk = predictions(model, tokens)
    return np.asarray(of_layer.argmax(axis=1) == of_trunk)[1:]


def predictions(model: glmq.Model, tokens: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Behind each token but the last, the layer's logits (n - 1, n_vocab) and the trunk's likeliest token.

    Both are of the next token, which the layer predicts without the trunk's hidden state there.
    """
    engine, session = model._engine, model.session()
    n, states = len(tokens) - 1, []
    trunk = []
    for first in range(0, n, DEPTH):
        part = tokens[first : min(first + DEPTH, n)]
        trunk.append(session.evaluate_all(part).argmax(axis=1))
        states.append(session.sequence.hidden.rows[-len(part) :])
    logits = zeros((n, engine.n_vocab), np.float32)
    sequence = TokenSequence(engine.prefix_tree)
    before = np.vstack([np.zeros_like(states[0][:1]), *states])[:n]

    def run(wanted: Sequence[None]) -> Sequence[None]:
        for first in range(0, n, PROMPT):
            sequence.reserve(min(PROMPT, n - first))
            run_tokens = copy_of(tokens[first : min(first + PROMPT, n)], np.int64)
            last = first + len(run_tokens)
            engine._prediction.predict(
                engine._thread_pool,
                [SequencePart(run_tokens, first, sequence.page_table, len(run_tokens), in_rows=False)],
                before[first:last],
                logits[first:last],
            )
            sequence.extend(run_tokens.tolist())
        return wanted

    engine.scheduler.call(sequence, None, run)
    sequence.release(publish=False)
    session.rewind(0)
    return logits, np.concatenate(trunk)


def rendered(model: glmq.Model, conversation: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    """A conversation's tokens, closed by the tag of the next turn, and the places of those of its answers."""
    text = model.chat_template.render(
        conversation["messages"], tools=conversation["tools"], add_generation_prompt=False,
        enable_thinking=conversation["enable_thinking"],
    )  # fmt: skip
    tokens = model.tokenize(text + "<|user|>")
    begins, *ends = (
        model.tokenizer.token_id(tag) for tag in ("<|assistant|>", "<|user|>", "<|observation|>")
    )
    answers, inside = [], False
    for place, token in enumerate(tokens):
        if inside:
            answers.append(place)
        inside = token == begins or (inside and token not in ends)
    return tokens, answers


def main() -> None:
    """Print the rows or lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("cost", "acceptance"))
    parser.add_argument("path", type=Path, nargs="?")
    parser.add_argument("--llama-cpp", action="store_true", help="acceptance in llama.cpp too (xllamacpp)")
    args = parser.parse_args()
    if args.what == "acceptance":
        lines = acceptance(args.path, in_llama_cpp=args.llama_cpp)
    else:
        from synthetic import write_air

        path = cache_folder() / "bench" / "air-Q4_0-3-mtp.gguf"
        path = args.path or write_air(path, vocab_size=VOCABULARY, mtp=True)
        lines = cost(path)
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
