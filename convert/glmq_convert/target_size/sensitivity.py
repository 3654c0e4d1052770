"""How much an error in a tensor's outputs changes what the model predicts.

Kullback-Leibler divergence grows in proportion to the square of a small error, so that a tensor has one
number: the divergence that comes of an error as large as the outputs, if it stayed in proportion. The numbers
are of a trained Glm4Moe model of four layers, of which one tensor after the other was quantized to Q3_K, each
kind's mean of all layers. Only their ratios matter.

    output          its errors are the logits' own
    dense layers    everything goes through them; one expert of many is a small part of its layer's output
    routed experts  errors of several experts are independent of each other and average out
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping

import numpy as np

from ..mixes.tensor_kinds import kind_of, layer_of

OF_KIND = {
    "output": 0.57,
    "token_embd": 0.23,
    "attn_q": 0.042,
    "attn_k": 0.054,
    "attn_v": 0.073,
    "attn_output": 0.058,
    "ffn_gate": 0.18,
    "ffn_up": 0.10,
    "ffn_down": 0.17,
    "ffn_gate_shexp": 0.022,
    "ffn_up_shexp": 0.024,
    "ffn_down_shexp": 0.023,
    "ffn_gate_exps": 0.012,
    "ffn_up_exps": 0.015,
    "ffn_down_exps": 0.018,
}
OF_OTHERS = 0.05
"""Of kinds that were not measured: the matrices of latent attention and of multi-token prediction."""


def sensitivities(
    names: Collection[str], measured: Mapping[str, float] | None, *, tied: bool
) -> dict[str, float]:
    """Of tensors by their full names.

    measured: those that are known of this model. Others of their kinds follow from the layers beside them; of
    kinds that were not measured the numbers above are taken in proportion. tied: whether the embedding is the
    output matrix too.
    """
    constants = {name: _constant(name, tied=tied) for name in names}
    if not measured:
        return constants
    logarithms = [math.log(measured[name] / constants[name]) for name in names if name in measured]
    proportion = math.exp(sum(logarithms) / len(logarithms)) if logarithms else 1.0
    by_kind: dict[str, dict[int, float]] = defaultdict(dict)
    for name, value in measured.items():
        by_kind[kind_of(name)][layer_of(name)] = math.log(value)
    return {
        name: _of_layer(by_kind[kind_of(name)], layer_of(name))
        if kind_of(name) in by_kind
        else proportion * constant
        for name, constant in constants.items()
    }


def _of_layer(known: Mapping[int, float], layer: int) -> float:
    """Between the layers of which logarithms are known; beyond them as in the nearest."""
    layers = sorted(known)
    return math.exp(float(np.interp(layer, layers, [known[each] for each in layers])))


def _constant(name: str, *, tied: bool) -> float:
    kind = kind_of(name)
    return OF_KIND["output"] if tied and kind == "token_embd" else OF_KIND.get(kind, OF_OTHERS)
