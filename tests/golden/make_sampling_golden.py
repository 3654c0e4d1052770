"""Make sampling.json: what llama.cpp's samplers keep of given logits, and what they draw.

Needs llama-cpp-python. A case holds the settings that differ from "all off", the name of its logits, the
tokens before, the tokens that llama.cpp keeps, likeliest first, and their probabilities (at most
`MOST_KEPT` of `n_kept`). A DRY case holds the tokens whose logits DRY changed, and by how much.

python tests/golden/make_sampling_golden.py
"""

from __future__ import annotations

import ctypes
import json
import math
import sys
import tempfile
from pathlib import Path

import llama_cpp
import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent.parent / "kernels")]

from glmq.sampling import Sampling
from tests.glmq.sampling_golden import GOLDEN, TOKENS, wide_logits, write_vocabulary

MOST_KEPT = 40
OFF = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
N_DRAWS = 8000
SEED = 7
CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


def logits() -> dict[str, list[float]]:
    """Fixed logits, rounded so that the file is short."""
    random = np.random.default_rng(5)
    made = {
        "peaked": random.normal(0, 3, 48),
        "flat": random.normal(0, 0.3, 48),
        "long": random.normal(-2, 2, 1500) + 9 / (1 + np.arange(1500) % 701),
        "halves": [1.0, 1.0],
        "equal": np.repeat([3.0, 2.0, 1.0, -1.0], (2, 3, 5, 6)),
    }
    made["masked"] = np.where(np.arange(48) % 3 == 0, made["peaked"], -np.inf)
    return {name: [round(float(x), 4) for x in values] for name, values in made.items()}


def cases() -> list[dict]:
    """Settings, logits and history of every case."""
    single = [
        {},
        *({"top_k": k} for k in (1, 5, 40, 200)),
        *({"top_p": p} for p in (0.0, 0.1, 0.5, 0.9, 0.95, 0.999)),
        *({"min_p": p} for p in (0.01, 0.05, 0.3, 1.0)),
        *({"typical_p": p} for p in (0.1, 0.5, 0.9)),
        *({"top_n_sigma": n} for n in (0.3, 1.0, 2.0)),
        *({"xtc_probability": 1.0, "xtc_threshold": t} for t in (0.01, 0.1, 0.3, 0.6)),
        *({"temperature": t} for t in (0.0, 0.1, 0.7, 2.0)),
        {"logit_bias": {"3": 2.5, "7": -3.0, "0": -math.inf}},
    ]
    found = [{"settings": each, "logits": name} for each in single for name in ("peaked", "flat", "long")]
    combined = [
        {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05},
        {"temperature": 0.6, "top_p": 0.95},
        {"top_k": 20, "typical_p": 0.8, "top_p": 0.9, "min_p": 0.02, "temperature": 1.3},
        {"top_n_sigma": 1.5, "top_k": 50, "min_p": 0.1, "temperature": 1.7},
        {"top_k": 30, "xtc_probability": 1.0, "xtc_threshold": 0.05, "temperature": 0.9},
        {"temperature": 2.0, "top_p": 0.8, "min_p": 0.1, "order": ["temperature", "min_p", "top_p"]},
        {"temperature": 0.5, "top_k": 10, "min_p": 0.2, "order": ["min_p", "temperature", "top_k"]},
        {"top_k": 12, "top_n_sigma": 1.0, "order": ["top_k", "top_n_sigma", "temperature"]},
        {"top_p": 0.5, "typical_p": 0.5, "order": ["top_p", "typ_p"]},
        {"temperature": 0.0, "xtc_probability": 1.0, "xtc_threshold": 0.05},
        {"temperature": 0.3, "order": []},
    ]
    found += [{"settings": each, "logits": name} for each in combined for name in ("peaked", "long")]
    found += [
        {"settings": each, "logits": "wide"}
        for each in (*combined[:5], {"top_k": 300}, {"min_p": 0.1}, {"top_n_sigma": 3.0}, {"typical_p": 0.2})
    ]
    found += [
        {"settings": each, "logits": "masked"}
        for each in ({}, combined[0], {"top_p": 0.7}, {"top_n_sigma": 1.0}, {"min_p": 0.1}, {"top_k": 20})
    ]
    found += [
        {"settings": each, "logits": "equal"}
        for each in ({"top_k": 5}, {"top_k": 2}, {"min_p": 0.2}, {"top_p": 0.3}, {"temperature": 0.0})
    ]
    found += [{"settings": each, "logits": "halves"} for each in ({"typical_p": 0.5}, {"typical_p": 0.4})]
    return [{"history": [], **each} for each in found] + penalty_cases()


def penalty_cases() -> list[dict]:
    history = [1, 2, 3, 3, 3, 9, 9, 47, 20, 5, 1]
    settings = [
        {"repeat_penalty": 1.3},
        {"repeat_penalty": 0.8},
        {"frequency_penalty": 0.5},
        {"presence_penalty": 1.5},
        {"presence_penalty": -1.0},
        {"repeat_penalty": 1.2, "frequency_penalty": 0.3, "presence_penalty": 0.4},
        {"repeat_penalty": 1.2, "frequency_penalty": 0.3, "penalty_last_n": 4},
        {"repeat_penalty": 2.0, "penalty_last_n": 0},
        {"repeat_penalty": 1.5, "top_k": 8, "temperature": 0.7},
        {"repeat_penalty": 1.5, "top_k": 8, "order": ["top_k", "penalties"]},
        {"frequency_penalty": 0.5, "temperature": 0.5, "order": ["temperature", "penalties"]},
    ]
    names = ("peaked", "long")
    return [{"settings": each, "logits": name, "history": history} for each in settings for name in names]


def dry_cases() -> list[dict]:
    histories = (
        "a b c d a b c e a b c",
        "a b c d a b c e a b c : a b",
        "a b : c d a b : c e a b : c",
        "a b x: c d a b x: c e a b x: c d",
        "a b Ġ< end > q a b q a b Ġ< end > q a b",
        "a b Ġ<e n d > q a b c a b Ġ<e n d > q a b",
        "a " * 40,
        "a b c d e f g h i j " * 12,
        "d > q d > q d",
    )
    settings = [
        {"dry_breakers": []},
        {},
        {"dry_allowed_length": 1},
        {"dry_allowed_length": 4},
        {"dry_last_n": 7},
        {"dry_last_n": 1000, "dry_base": 3.0},
        {"dry_base": 1.0},
        {"dry_breakers": ["<end>", "\n\n"]},
        {"dry_breakers": ["d>q", "x"], "dry_allowed_length": 1},
    ]
    return [
        {
            "settings": {"dry_multiplier": 0.8, "order": ["dry"], **each},
            "history": [TOKENS.index(text) for text in history.split()],
        }
        for each in settings
        for history in histories
    ]


class Peer:
    """A chain of llama.cpp's samplers, put together as its common_sampler_init does."""

    def __init__(self, settings: dict, vocabulary: object, n_vocab: int) -> None:
        self.chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        sampling = _sampling(settings)
        if sampling.logit_bias:
            biases = (llama_cpp.llama_logit_bias * len(sampling.logit_bias))(*sampling.logit_bias.items())
            self._add(llama_cpp.llama_sampler_init_logit_bias(n_vocab, len(biases), biases))
        if sampling.mirostat:
            self._add(llama_cpp.llama_sampler_init_temp(sampling.temperature))
            tau, eta = sampling.mirostat_tau, sampling.mirostat_eta
            self._add(llama_cpp.llama_sampler_init_mirostat_v2(SEED, tau, eta))
            return
        for name in sampling.order:
            self._add(self._step(name, sampling, vocabulary, n_vocab))
        self._add(llama_cpp.llama_sampler_init_dist(SEED))

    def _add(self, sampler: object) -> None:
        llama_cpp.llama_sampler_chain_add(self.chain, sampler)

    def _step(self, name: str, sampling: Sampling, vocabulary: object, n_vocab: int) -> object:
        s, lib = sampling, llama_cpp
        breakers = [text.encode() for text in s.dry_breakers]
        steps = {
            "penalties": lambda: lib.llama_sampler_init_penalties(
                n_vocab, s.penalty_last_n, s.repeat_penalty, s.frequency_penalty, s.presence_penalty
            ),
            "dry": lambda: lib.llama_sampler_init_dry(
                vocabulary, s.dry_multiplier, s.dry_base, s.dry_allowed_length, s.dry_last_n,
                (ctypes.c_char_p * len(breakers))(*breakers), len(breakers),
            ),
            "top_n_sigma": lambda: lib.llama_sampler_init_top_n_sigma(s.top_n_sigma),
            "top_k": lambda: lib.llama_sampler_init_top_k(s.top_k),
            "typ_p": lambda: lib.llama_sampler_init_typical(s.typical_p, 0),
            "top_p": lambda: lib.llama_sampler_init_top_p(s.top_p, 0),
            "min_p": lambda: lib.llama_sampler_init_min_p(s.min_p, 0),
            "xtc": lambda: lib.llama_sampler_init_xtc(s.xtc_probability, s.xtc_threshold, 0, SEED),
            "temperature": lambda: lib.llama_sampler_init_temp_ext(s.temperature, 0.0, 1.0),
        }  # fmt: skip
        return steps[name]()

    def accept(self, token: int) -> None:
        llama_cpp.llama_sampler_accept(self.chain, token)

    def apply(self, logits: np.ndarray) -> tuple[int, np.ndarray]:
        """The token drawn, and the candidates left."""
        data = np.zeros(len(logits), CANDIDATE)
        data["id"], data["logit"] = np.arange(len(logits)), logits
        first = data.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token_data))
        array = llama_cpp.llama_token_data_array(first, len(data), -1, False)
        llama_cpp.llama_sampler_apply(self.chain, ctypes.byref(array))
        skipped = ctypes.addressof(array.data.contents) - data.ctypes.data  # XTC moves the pointer
        left = data[skipped // CANDIDATE.itemsize :][: array.size]
        return int(left["id"][array.selected]), left

    def close(self) -> None:
        llama_cpp.llama_sampler_free(self.chain)


def _sampling(settings: dict) -> Sampling:
    biases = {int(token): bias for token, bias in settings.get("logit_bias", {}).items()}
    return Sampling(**OFF | settings | {"logit_bias": biases})


def kept(case: dict, values: np.ndarray, vocabulary: object) -> dict:
    """The case with what llama.cpp keeps."""
    peer = Peer(case["settings"], vocabulary, len(values))
    for token in case["history"]:
        peer.accept(token)
    _, left = peer.apply(values)
    peer.close()
    left = left[left["p"] > 0]
    best = left[np.lexsort((left["id"], -left["p"]))]
    shown = best[:MOST_KEPT]
    return {
        **case,
        "n_kept": len(best),
        "tokens": shown["id"].tolist(),
        "probabilities": [float(f"{p:.6g}") for p in shown["p"]],
    }


def penalties(case: dict, vocabulary: object) -> dict:
    """The case with what DRY takes off each token."""
    peer = Peer(case["settings"], vocabulary, len(TOKENS))
    for token in case["history"]:
        peer.accept(token)
    _, left = peer.apply(np.zeros(len(TOKENS), np.float32))
    peer.close()
    changed = left[left["logit"] != 0]
    return {**case, "penalties": {int(each["id"]): float(-each["logit"]) for each in changed}}


def draws(settings: dict, values: np.ndarray) -> dict:
    """How often llama.cpp drew each token."""
    peer = Peer(settings, None, len(values))
    drawn = [peer.apply(values)[0] for _ in range(N_DRAWS)]
    peer.close()
    return {"settings": settings, "counts": np.bincount(drawn, minlength=len(values)).tolist()}


def mirostat_course(settings: dict, values: np.ndarray) -> dict:
    """Draw after draw: the token, its probability, and how many tokens it was drawn from."""
    peer = Peer(settings, None, len(values))
    course = []
    for _ in range(40):
        token, left = peer.apply(values)
        course.append([token, float(left["p"][left["id"] == token][0]), len(left)])
    peer.close()
    return {"settings": settings, "course": course}


def main() -> None:
    arrays = logits()
    values = {name: np.array(each, np.float32) for name, each in arrays.items()} | {"wide": wide_logits()}
    with tempfile.TemporaryDirectory() as folder:
        path = write_vocabulary(Path(folder) / "vocabulary.gguf")
        parameters = llama_cpp.llama_model_default_params()
        parameters.vocab_only = True
        model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        vocabulary = llama_cpp.llama_model_get_vocab(model)
        golden = {
            "off": OFF,
            "logits": arrays,
            "cases": [kept(case, values[case["logits"]], vocabulary) for case in cases()],
            "dry": [penalties(case, vocabulary) for case in dry_cases()],
            "draws": [
                draws(settings, values["peaked"])
                for settings in (
                    {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05},
                    {"xtc_probability": 0.5, "xtc_threshold": 0.1},
                    {"mirostat": 2, "mirostat_tau": 2.0, "temperature": 1.5, "top_k": 2, "min_p": 0.5},
                )
            ],
            "mirostat": [
                mirostat_course(settings, values["long"])
                for settings in (
                    {"mirostat": 2},
                    {"mirostat": 2, "mirostat_tau": 2.0, "mirostat_eta": 0.5, "temperature": 1.2},
                )
            ],
        }
        llama_cpp.llama_model_free(model)
    lines = json.dumps(golden).replace('{"history"', '\n{"history"').replace('{"settings"', '\n{"settings"')
    GOLDEN.write_text(lines + "\n")


if __name__ == "__main__":
    main()
