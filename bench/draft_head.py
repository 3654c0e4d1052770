"""How many of a text's tokens have a row in a head for drafts, and what the others cost.

python bench/draft_head.py rows TOKENIZER.gguf [NAME=FILE,FILE ...]
python bench/draft_head.py acceptance FOLDER    a checkpoint with held-out text and conversations beside it

`rows`: of each kind of text (by default this project's documentation, its Python and JavaScript, and calls of
tools) the share of tokens among the first N of the vocabulary, among N likely ones as `glmq/draft_head.py`
chooses them for one text, the first third of which is the prompt, and the same where all texts come one after
another, of their second half. `acceptance`: how often the layer's likeliest token is the trunk's where it
chooses among N likely ones, and how many of the trunk's tokens are among these.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from glmq_convert.conversion import convert

import glmq
from bench.prediction import WINDOW, load_predicting, predictions, rendered
from glmq.draft_head import LikelyTokens
from glmq.gguf import open_gguf
from glmq.tokenizer import load_tokenizer

ROOT = Path(__file__).parents[1]
SIZES = (4096, 8192, 16384, 32768, 65536)
OF_SMALL = (256, 512, 1024, 2048)
RUN = 512
"""Tokens of a prompt that are read together."""


def texts_of(kinds: Sequence[str]) -> dict[str, list[str]]:
    """Texts by their kinds: of `NAME=FILE,FILE`, or the project's own."""
    if kinds:
        named = (each.split("=", 1) for each in kinds)
        return {name: [Path(file).read_text() for file in files.split(",")] for name, files in named}
    found = {
        "documentation": sorted((ROOT / "docs").glob("*.md")),
        "Python": sorted((ROOT / "glmq").rglob("*.py"))[:150],
        "JavaScript": sorted((ROOT / "glmq").rglob("*.js")),
    }
    return {name: [path.read_text() for path in paths] for name, paths in found.items()} | {
        "calls of tools": [calls_of_tools()]
    }


def calls_of_tools() -> str:
    """Calls as GLM writes them, of arguments that are words and numbers of the documentation."""
    words = sorted({word for word in (ROOT / "docs" / "chat.md").read_text().split() if word.isalpha()})
    rng = np.random.default_rng(0)
    calls = []
    for _ in range(200):
        name, *keys = rng.choice(words, 4)
        values = [
            " ".join(rng.choice(words, 3)),
            str(rng.integers(0, 10000)),
            json.dumps(rng.choice(words, 2).tolist()),
        ]
        arguments = "".join(
            f"<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>\n"
            for key, value in zip(keys, values, strict=True)
        )
        calls.append(f"<tool_call>{name.lower()}\n{arguments}</tool_call>\n")
    return "".join(calls)


def with_rows(likely: LikelyTokens, tokens: np.ndarray, n_prompt: int) -> np.ndarray:
    """Which tokens of a text behind its prompt have rows when they come, bool (n - n_prompt,)."""
    for first in range(0, n_prompt, RUN):
        likely.take(tokens[first : min(first + RUN, n_prompt)])
    found = np.zeros(len(tokens) - n_prompt, bool)
    for i, token in enumerate(tokens[n_prompt:]):
        found[i] = token in likely
        likely.take(np.array([token]))
    return found


def rows(path: Path, kinds: Sequence[str]) -> Iterator[str]:
    """Rows of a table."""
    tokenizer = load_tokenizer(open_gguf(path))
    n_vocab = tokenizer.n_vocab
    yield "| text | tokens | N | among the first N | likely, one text | likely, many texts |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, texts in texts_of(kinds).items():
        encoded = [np.array(tokenizer.encode(text, special=False), np.int64) for text in texts]
        for n in SIZES:
            if n >= n_vocab:
                continue
            first, alone, together = [], [], []
            long_lived = LikelyTokens(n_vocab, n)
            for place, tokens in enumerate(encoded):
                n_prompt = len(tokens) // 3
                first.append(tokens[n_prompt:] < n)
                alone.append(with_rows(LikelyTokens(n_vocab, n), tokens, n_prompt))
                later = with_rows(long_lived, tokens, n_prompt)
                together += [later] if place >= len(encoded) // 2 else []
            shares = [f"{np.concatenate(each).mean():.3f}" for each in (first, alone, together)]
            if len(encoded) == 1:
                shares[2] = ""
            yield f"| {name} | {sum(map(len, encoded))} | {n} | {' | '.join(shares)} |"


def acceptance(folder: Path) -> Iterator[str]:
    """Rows of a table, of the text and of the conversations' answers."""
    with tempfile.TemporaryDirectory() as place:
        path = convert(folder, Path(place) / "model.gguf", "bf16")
        with load_predicting(path) as model:
            text = model.tokenize((folder / "heldout_text.txt").read_text())[: 8 * WINDOW]
            windows = [text[i : i + WINDOW] for i in range(0, len(text) - 2, WINDOW)]
            yield "| text | N | tokens | have rows | the layer agrees | of all tokens |"
            yield "| --- | --- | --- | --- | --- | --- |"
            yield from of_texts("text", model, [(window, range(2, len(window))) for window in windows])
            conversations = json.loads((folder / "heldout_conversations.json").read_text())
            rendered_ones = [rendered(model, each) for each in conversations]
            yield from of_texts("answers", model, rendered_ones)


def of_texts(
    name: str, model: glmq.Model, texts: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> Iterator[str]:
    """Rows about texts, and the places of the tokens that count."""
    found: dict[int, list[tuple[bool, bool, bool]]] = {n: [] for n in OF_SMALL}
    for tokens, places in texts:
        of_layer, of_trunk = predictions(model, tokens)
        for n in OF_SMALL:
            likely = LikelyTokens(model.n_vocab, n)
            for place in range(1, len(tokens)):  # the row of place - 1 guesses the token there
                likely.take(np.array(tokens[place - 1 : place]))
                if place in places:
                    logits, choice = of_layer[place - 1], of_trunk[place - 1]
                    guess = likely.tokens[logits[likely.tokens].argmax()]
                    found[n].append((choice in likely, guess == choice, logits.argmax() == choice))
    for n, counted in found.items():
        have, agree, of_all = np.array(counted).mean(axis=0)
        yield f"| {name} | {n} | {len(counted)} | {have:.3f} | {agree:.3f} | {of_all:.3f} |"


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("rows", "acceptance"))
    parser.add_argument("path", type=Path)
    parser.add_argument("texts", nargs="*")
    args = parser.parse_args()
    for line in acceptance(args.path) if args.what == "acceptance" else rows(args.path, args.texts):
        print(line, flush=True)


if __name__ == "__main__":
    main()
