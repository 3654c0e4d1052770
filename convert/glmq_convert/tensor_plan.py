"""Collecting the tensors of a file from a checkpoint, with an account of what of it is used."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from glmq_kernels.errors import GlmqError

from .model_config import ModelConfig
from .moe_config import MoeConfig
from .mtp import MtpLayerError, layer_of, mtp_layers
from .plan import Piece, PlannedTensor, Weights

NAMES_SHOWN = 3


class TensorPlan:
    """Collects tensors, what of the checkpoint they use, and what is wrong with it.

    weights: the checkpoint; names: of its tensors.
    """

    def __init__(self, config: ModelConfig, weights: Weights, names: Collection[str]) -> None:
        self.tensors: list[PlannedTensor] = []
        self._weights, self._names = weights, names
        self._config, self._mtp_layers = config, mtp_layers(config, names)
        self._used: set[str] = set()
        self._missing: list[str] = []

    def has(self, source: str) -> bool:
        """Whether the checkpoint has a tensor."""
        return source in self._names

    def add(self, name: str, source: str, *shape: int) -> None:
        """A tensor that is one tensor of the checkpoint."""
        self.add_pieces(name, shape, [self.whole(source, *shape)])

    def add_pieces(self, name: str, shape: tuple[int, ...], pieces: list[Piece]) -> None:
        """A tensor whose rows come from several places."""
        self.tensors.append(PlannedTensor(name, shape, tuple(pieces)))

    def whole(self, source: str, *shape: int) -> Piece:
        """All rows of a tensor of the checkpoint, which must have this shape."""
        self._used.add(source)
        rows = 1
        for n in shape[:-1]:
            rows *= n
        if source not in self._names:
            self._missing.append(source)
            if len(self._missing) > len(self._names):  # config.json may ask for any number of them
                raise self._lacks()
        elif self._weights.shape(source) != shape:
            found = self._weights.shape(source)
            raise self._wrong(
                [source], f"tensor {source} has shape {found}, where config.json asks for {shape}"
            )
        else:
            self._weights.item_bytes(source)  # refuses types that cannot be read
        return Piece(source, 0, rows)

    def check(self, n_mtp_layers: int) -> None:
        """Raise GlmqError when tensors are missing or not accounted for.

        n_mtp_layers: of multi-token prediction, that are converted; others are rightly left out.
        """
        left_out = set(_left_out(self._config, self._names, n_mtp_layers))
        if self._missing:
            raise self._lacks()
        extra = sorted(set(self._names) - self._used - left_out)
        if extra:
            raise self._wrong(
                extra,
                f"the checkpoint holds {_some(extra)}, which config.json has no place for;"
                " it may be of another model",
            )

    def _lacks(self) -> GlmqError:
        return self._wrong(
            self._missing,
            f"the checkpoint lacks {_some(self._missing)}, which config.json asks for;"
            " finish the download or correct config.json",
        )

    def _wrong(self, sources: list[str], message: str) -> GlmqError:
        """An error about tensors, which knows whether all are of multi-token prediction."""
        are_mtp = all(layer_of(source) in self._mtp_layers for source in sources)
        return MtpLayerError(message) if are_mtp else GlmqError(message)


def _some(names: list[str]) -> str:
    more = len(names) - NAMES_SHOWN
    shown = ", ".join(names[:NAMES_SHOWN])
    return (
        f"tensor {names[0]}" if len(names) == 1 else f"tensors {shown}" + (f" and {more} more" * (more > 0))
    )


def _left_out(config: ModelConfig, names: Collection[str], n_mtp_layers: int) -> Iterator[str]:
    """Tensors that are rightly not converted: a tied head's copy, dropped MTP layers, tables, empty ones."""
    dropped = mtp_layers(config, names) if not n_mtp_layers else frozenset()
    for name in names:
        if (
            layer_of(name) in dropped
            or name.endswith("rotary_emb.inv_freq")
            or (name == "lm_head.weight" and config.tie_word_embeddings)
            or (".shared_experts." in name and isinstance(config, MoeConfig) and not config.n_shared_experts)
        ):
            yield name
