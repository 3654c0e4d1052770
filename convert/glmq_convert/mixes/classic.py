"""The types that llama-quantize gives to tensors, by the names of its mixes.

Rules: `llama_tensor_get_type` in llama.cpp's src/llama-quant.cpp, without what it does for models with eight
experts or of the name "70B". Tensors are visited by layers, then by names: some rules count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..plan import PlannedTensor
from .mix_names import Mix
from .tensor_kinds import block_count, kind_of, layer_of, stays_f32

LOWEST = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M")
"""Mixes that have rules of their own."""

FINER_2_BITS = ("IQ2_S", "IQ2_M")
MANY_HEADS = 4
"""Queries for each key, or experts, from which a mix affords more bits for the values."""


@dataclass(frozen=True)
class _Model:
    """What the rules ask of a model. n_layers: blocks, those of multi-token prediction too."""

    mix: str
    base: str
    has_importance: bool
    n_layers: int
    n_values: int
    n_experts: int
    queries_per_key: int
    tied: bool


def classic_types(tensors: Sequence[PlannedTensor], mix: Mix, has_importance: bool) -> dict[str, str]:
    """The type of each tensor that may be quantized, by its name, before rows are divided into blocks."""
    chosen = [tensor for tensor in tensors if not stays_f32(tensor)]
    model = _model(chosen, mix, has_importance)
    types: dict[str, str] = {}
    values = downs = 0
    for tensor in sorted(chosen, key=lambda tensor: (layer_of(tensor.name), tensor.name)):
        kind = kind_of(tensor.name)
        types[tensor.name] = _type(model, tensor, kind, values, downs)
        values += kind == "attn_v"
        downs += kind.startswith("ffn_down")
    return types


def _model(tensors: Sequence[PlannedTensor], mix: Mix, has_importance: bool) -> _Model:
    rows = {kind_of(tensor.name): tensor.shape[-2] for tensor in tensors}
    experts = [tensor.shape[0] for tensor in tensors if kind_of(tensor.name).endswith("_exps")]
    return _Model(
        mix.name,
        mix.base,
        has_importance,
        block_count(tensors),
        sum(kind_of(tensor.name) == "attn_v" for tensor in tensors),
        max(experts, default=0),
        rows.get("attn_q", 1) // rows.get("attn_k", 1),
        "output" not in rows,
    )


def _type(model: _Model, tensor: PlannedTensor, kind: str, values: int, downs: int) -> str:
    """The type of a tensor. values, downs: how many attn_v and ffn_down came before."""
    if model.mix == "MXFP4_MOE":
        return "MXFP4" if len(tensor.shape) == 3 else "Q8_0"
    if model.base in ("F32", "F16", "BF16", "Q8_0"):
        return model.base
    if kind == "output" or (kind == "token_embd" and model.tied):
        return _output(model, tensor.columns)
    if kind == "token_embd":
        return _token_embedding(model)
    if kind == "attn_v":
        return _values(model, values)
    layer = layer_of(tensor.name)
    rule = _RULES.get(kind.removesuffix("_exps").removesuffix("_shexp"))
    return (rule(model, layer, downs) if rule else None) or model.base


def _output(model: _Model, columns: int) -> str:
    if columns % 256:
        return "Q8_0"
    return "Q5_K" if model.mix in (*LOWEST, "IQ3_XXS") else "Q6_K"


def _token_embedding(model: _Model) -> str:
    if model.mix in (*FINER_2_BITS, "IQ3_XXS"):
        return "IQ3_S"
    return "Q2_K" if model.mix in LOWEST else model.base


def _values(model: _Model, before: int) -> str:
    m = model.mix
    few = model.queries_per_key < MANY_HEADS
    if m in LOWEST:
        if few and model.n_experts < MANY_HEADS:
            return "IQ3_S" if m in FINER_2_BITS else "Q2_K"
        return "Q4_K"
    if m in ("Q4_K_M", "Q5_K_M"):
        return "Q6_K" if _more_bits(before, model.n_values) else model.base
    if m == "Q3_K_M":
        return "Q5_K" if before < 2 else "Q4_K"
    if m == "Q4_K_S":
        return "Q5_K" if before < 4 else model.base
    if m == "IQ3_XXS" and few:
        return "IQ3_XXS" if model.has_importance else "IQ3_S"
    if m == "Q2_K" and few:
        return "Q3_K"
    for_all = {"Q3_K_L": "Q5_K", "IQ3_M": "Q4_K"}
    for_many = {
        "Q2_K": "Q4_K", "Q2_K_S": "Q4_K", "IQ3_XXS": "Q4_K", "IQ3_XS": "Q4_K", "IQ3_S": "Q4_K",
        "IQ4_NL": "Q5_K", "IQ4_XS": "Q5_K",
    }  # fmt: skip
    return for_all.get(m) or (model.base if few else for_many.get(m, model.base))


def _keys_and_queries(model: _Model, layer: int, downs: int) -> str | None:
    return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(model.mix)


def _attention_output(model: _Model, layer: int, downs: int) -> str | None:
    return {
        "Q2_K": "Q3_K", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_XXS": "IQ3_S", "IQ3_M": "Q4_K",
        "IQ2_S": "IQ3_S", "IQ2_M": "IQ3_S", "IQ1_S": "IQ2_XXS", "IQ1_M": "IQ2_XXS",
    }.get(model.mix)  # fmt: skip


def _gate_and_up(model: _Model, layer: int, downs: int) -> str | None:
    n = model.n_layers
    return "IQ3_XXS" if model.mix == "IQ3_XS" and n // 8 <= layer < 7 * n // 8 else None


def _down(model: _Model, layer: int, downs: int) -> str | None:
    m, n = model.mix, model.n_layers
    first = layer < n // 8
    if m in LOWEST:  # counts tensors, of which a layer of experts has two
        return ("IQ3_S" if m in FINER_2_BITS else "Q2_K") if downs < n // 8 else None
    if m in ("Q4_K_M", "Q5_K_M"):
        return "Q6_K" if _more_bits(layer, n) else None
    if m == "Q3_K_M":
        return "Q5_K" if layer < n // 16 else "Q4_K"
    if m == "IQ3_XXS" and not model.has_importance:
        return "Q4_K" if first else "Q3_K"
    in_all = {"Q2_K": "Q3_K", "Q3_K_L": "Q5_K"}
    in_first = {"Q2_K_S": "Q4_K", "Q4_K_S": "Q5_K", "IQ3_M": "Q4_K"}
    if model.has_importance:
        in_first |= {"Q4_0": "Q4_1", "Q5_0": "Q5_1"}
    else:
        in_first |= {"IQ4_NL": "Q5_K", "IQ4_XS": "Q5_K"}
    return in_all.get(m) or (in_first.get(m) if first else None)


def _more_bits(i: int, n: int) -> bool:
    """Whether the i-th of n layers is one with more bits: those at the ends, and every third between."""
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


_RULES: dict[str, Callable[[_Model, int, int], str | None]] = {
    "attn_k": _keys_and_queries,
    "attn_q": _keys_and_queries,
    "attn_output": _attention_output,
    "ffn_down": _down,
    "ffn_gate": _gate_and_up,
    "ffn_up": _gate_and_up,
}
"""By kinds. Each may leave the decision to the mix's base type."""
