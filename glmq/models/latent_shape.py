"""Sizes of multi-head latent attention, as a file's metadata gives them."""

from __future__ import annotations

from dataclasses import dataclass

from glmq_kernels.errors import GlmqError
from glmq_kernels.ops.attention.cache_layout import CacheShape, types_of
from glmq_kernels.ops.expanded_attention.sizes import LatentSizes

from ..gguf import GGUFFile
from ..weights import Weights


@dataclass(frozen=True)
class LatentShape:
    """Sizes of multi-head latent attention.

    q_rank: of the compressed queries, 0 where they are not. kv_rank: of the compressed keys and values.
    nope_dim, rope_dim: of a head's queries and keys, without and with positions. value_dim: of its values.
    """

    n_heads: int
    q_rank: int
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int

    @classmethod
    def from_gguf(cls, file: GGUFFile) -> LatentShape:
        """What the metadata says. Raises GlmqError for what the attention kernels cannot do.

        Files from before keys were absorbed give the lengths of a head's own keys and values as
        `attention.key_length` and `attention.value_length`, newer ones with `_mla` behind these.
        """
        prefix = file.text("general.architecture")

        def length(key: str) -> int:
            name = f"{prefix}.attention.{key}"
            return file.integer(f"{name}_mla" if f"{name}_mla" in file.metadata else name, least=1)

        rope_dim = file.integer(f"{prefix}.rope.dimension_count", least=2)
        shape = cls(
            n_heads=file.integer(f"{prefix}.attention.head_count", least=1),
            q_rank=file.integer(f"{prefix}.attention.q_lora_rank", 0),
            kv_rank=file.integer(f"{prefix}.attention.kv_lora_rank", least=1),
            nope_dim=length("key_length") - rope_dim,
            rope_dim=rope_dim,
            value_dim=length("value_length"),
        )
        shape._check(file)
        return shape

    @property
    def row_dim(self) -> int:
        """Numbers of the cached row."""
        return self.kv_rank + self.rope_dim

    @property
    def head_dim(self) -> int:
        """Numbers of a head's queries."""
        return self.nope_dim + self.rope_dim

    @property
    def expansion(self) -> LatentSizes | None:
        """Sizes for the kernel that expands the cache's rows; None where it does not take these."""
        if self.nope_dim % 16 or self.value_dim % 16:
            return None
        return LatentSizes(self.n_heads, self.kv_rank, self.nope_dim, self.rope_dim, self.value_dim)

    def _check(self, file: GGUFFile) -> None:
        if self.nope_dim < 1:
            raise GlmqError(
                f"{file.path}: of a head's {self.head_dim} dimensions {self.rope_dim} cannot be rotated"
            )
        for name, size in (("kv_lora_rank", self.kv_rank), ("rope.dimension_count", self.rope_dim)):
            if size % 16:
                raise GlmqError(
                    f"{file.path}: {name} {size} is not supported, only multiples of 16; choose another model"
                )

    def cache(self, n_layers: int, cache_type: str, n_prediction_layers: int = 0) -> CacheShape:
        """What is kept of each token: a row for all heads, whose beginning is the value too.

        Raises GlmqError for a type of values other than that of keys.
        """
        keys, values = types_of(cache_type)
        if keys != values:
            raise GlmqError(
                f"this model's values are parts of its keys, which cannot be {keys} and {values} at once;"
                " choose one type",
                setting="cache_type_v",
            )
        return CacheShape(
            n_layers + n_prediction_layers, 1, key_dim=self.row_dim, value_dim=self.kv_rank,
            values_in_keys=True, type=cache_type, n_prediction_layers=n_prediction_layers,
        )  # fmt: skip

    def check_weights(self, weights: Weights, hidden_size: int, layer: int) -> None:
        """Refuse sizes that the file only claims, before memory is taken for them."""
        prefix = f"blk.{layer}"
        weights.check(f"{prefix}.attn_kv_a_mqa.weight", (self.row_dim, hidden_size))
        weights.check(f"{prefix}.attn_output.weight", (hidden_size, self.n_heads * self.value_dim))
        if self.q_rank:
            weights.check(f"{prefix}.attn_q_b.weight", (self.n_heads * self.head_dim, self.q_rank))
        else:
            weights.check(f"{prefix}.attn_q.weight", (self.n_heads * self.head_dim, hidden_size))
