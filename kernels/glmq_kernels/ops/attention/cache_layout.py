"""What a page of the KV cache holds, which kernels and their callers agree on.

A page has room for `POSITIONS_PER_PAGE` positions of one sequence, with all that a model keeps of them:

    for each layer, for each kv head:   keys of all positions | values of all positions

How keys and values lie inside these parts is drawn in `ops/attention/rows.py`. A sequence's *page table*
is int64: the address of each of its pages. Position p is in page p // P, at place p % P.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

CACHE_TYPES = ("F16", "Q8_0", "Q4_0", "F32")
LAYOUT = 1
"""Raised with any change of how keys and values lie or are computed, because session files keep them."""
POSITIONS_PER_PAGE = 64
"""A multiple of 32."""
MOST_HADAMARD = 128
"""Numbers that a Hadamard matrix multiplies at once, at most."""


def row_bytes(kept_as: str, columns: int) -> int:
    """Bytes of one position's key, or value, of `columns` numbers."""
    groups = -(-columns // 32)
    return {"F32": 4 * columns, "F16": 2 * columns, "Q8_0": columns + 2 * groups, "Q4_0": 18 * groups}[
        kept_as
    ]


def types_of(cache_type: str) -> tuple[str, str]:
    """Of keys and of values, each one of `CACHE_TYPES`."""
    keys, _, values = cache_type.partition("/")
    return keys, values or keys


def type_of_both(keys: str, values: str) -> str:
    """The type of a cache whose keys and values have these types."""
    return keys if keys == values else f"{keys}/{values}"


def worked_type(kept_as: str) -> str:
    """What keys or values are when products take them: four bits become eight first."""
    return "Q8_0" if kept_as == "Q4_0" else kept_as


def hadamard_block(kept_as: str, *widths: int) -> int:
    """Numbers of a key or value that a Hadamard matrix multiplies together before they are kept; 0: none.

    The product spreads what is large in one dimension over all of a block, so that four bits tell the others
    apart (QuaRot, arXiv:2404.00456). widths: what a block must divide.
    """
    return min(MOST_HADAMARD, *(width & -width for width in widths)) if kept_as == "Q4_0" else 0


@dataclass(frozen=True)
class CacheShape:
    """What a model keeps of each position: for each layer and kv head a key and a value.

    key_dim, value_dim: numbers of each. values_in_keys: a value is the first `value_dim` numbers of its key
    and has no memory of its own. type: one of `CACHE_TYPES`, or, where values are apart, one of keys and one
    of values, as in "Q8_0/Q4_0". n_prediction_layers: how many of the layers, the last, are of multi-token
    prediction.
    """

    n_layers: int
    n_kv_heads: int
    key_dim: int
    value_dim: int
    values_in_keys: bool = False
    type: str = "F16"
    n_prediction_layers: int = 0

    @property
    def key_bytes(self) -> int:
        """Of one position and kv head."""
        return row_bytes(types_of(self.type)[0], self.key_dim)

    @property
    def value_bytes(self) -> int:
        """Of one position and kv head; 0 for values in keys."""
        return 0 if self.values_in_keys else row_bytes(types_of(self.type)[1], self.value_dim)

    @property
    def key_block(self) -> int:
        """Numbers of a key in a block that a Hadamard matrix has multiplied; 0 for none."""
        values = (self.value_dim,) if self.values_in_keys else ()
        return hadamard_block(types_of(self.type)[0], self.key_dim, *values)

    @property
    def value_block(self) -> int:
        """The same of a value."""
        return (
            self.key_block if self.values_in_keys else hadamard_block(types_of(self.type)[1], self.value_dim)
        )

    @property
    def position_bytes(self) -> int:
        """Of one position, all layers."""
        return self.n_layers * self.n_kv_heads * (self.key_bytes + self.value_bytes)

    @property
    def head_bytes(self) -> int:
        """Of a page's part of one layer and kv head."""
        return POSITIONS_PER_PAGE * (self.key_bytes + self.value_bytes)

    @property
    def page_bytes(self) -> int:
        """Of a whole page."""
        return POSITIONS_PER_PAGE * self.position_bytes

    @property
    def trunk(self) -> CacheShape:
        """The same without the layers of multi-token prediction: the beginning of each page."""
        return replace(self, n_layers=self.n_layers - self.n_prediction_layers, n_prediction_layers=0)

    def keys_at(self, layer: int, kv_head: int) -> int:
        """Where in a page the keys of a layer and kv head begin, in bytes."""
        return (layer * self.n_kv_heads + kv_head) * self.head_bytes

    def values_at(self, layer: int, kv_head: int) -> int:
        """Where in a page the values of a layer and kv head begin, in bytes."""
        return self.keys_at(layer, kv_head) + (
            0 if self.values_in_keys else POSITIONS_PER_PAGE * self.key_bytes
        )

    def n_pages(self, n_positions: int) -> int:
        """Pages that so many positions fill."""
        return -(-n_positions // POSITIONS_PER_PAGE)

    def n_bytes(self, n_positions: int) -> int:
        """Memory of the pages of so many positions."""
        return self.n_pages(n_positions) * self.page_bytes
