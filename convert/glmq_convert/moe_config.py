"""What the configurations of GLM's mixture-of-experts checkpoints have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glmq_kernels.errors import GlmqError

from .json_fields import flag, number, shown, whole
from .model_config import ModelConfig, common_fields
from .rope import Rope


@dataclass(frozen=True, kw_only=True)
class MoeConfig(ModelConfig):
    """What conversion needs of a configuration whatever its attention, under the names of transformers."""

    first_k_dense_replace: int
    n_routed_experts: int
    num_experts_per_tok: int
    n_shared_experts: int
    moe_intermediate_size: int
    n_group: int
    topk_group: int
    routed_scaling_factor: float
    norm_topk_prob: bool


LEAST = {"first_k_dense_replace": 0, "n_shared_experts": 0}
"""Where it is not 1."""


def moe_fields(kind: type[MoeConfig], content: Mapping[str, Any], rope: Rope) -> dict[str, Any]:
    """The fields of `MoeConfig` from the content of a config.json; absent keys have the kind's defaults."""
    sizes = (
        "first_k_dense_replace", "num_experts_per_tok", "n_shared_experts", "moe_intermediate_size",
        "n_group", "topk_group",
    )  # fmt: skip
    defaults = kind.DEFAULTS
    return {
        **common_fields(kind, content, rope),
        **{name: whole(content, name, defaults[name], least=LEAST.get(name, 1)) for name in sizes},
        "n_routed_experts": _aliased(content, "n_routed_experts", "num_local_experts", defaults, least=1),
        "num_nextn_predict_layers": _aliased(
            content, "num_nextn_predict_layers", "num_mtp_layers", defaults, least=0
        ),
        "routed_scaling_factor": number(content, "routed_scaling_factor", defaults["routed_scaling_factor"]),
        "norm_topk_prob": flag(content, "norm_topk_prob", True),
    }


def _aliased(
    content: Mapping[str, Any], key: str, alias: str, defaults: Mapping[str, Any], least: int
) -> int:
    """A whole number under either of two names, the first being preferred."""
    return whole(content, key if key in content else alias, defaults[key], least)


def check_experts(content: Mapping[str, Any], config: MoeConfig) -> None:
    """Refuse numbers of experts that do not fit together."""
    c = config
    if c.n_routed_experts % c.n_group or c.topk_group > c.n_group:
        raise GlmqError(
            f"{c.n_routed_experts} experts in {c.n_group} groups, {c.topk_group} used: impossible"
        )
    if c.num_experts_per_tok > c.n_routed_experts // c.n_group * c.topk_group:
        raise GlmqError(f"num_experts_per_tok is {c.num_experts_per_tok}, more than there are experts")
    width = content.get("shared_expert_intermediate_size")
    if width not in (None, c.moe_intermediate_size * c.n_shared_experts):
        raise GlmqError(
            f"shared_expert_intermediate_size is {shown(width)}; it must be moe_intermediate_size times"
            " n_shared_experts"
        )
