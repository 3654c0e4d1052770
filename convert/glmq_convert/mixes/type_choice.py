"""What is asked for: a mix by its name, and types for tensors that the user names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from glmq_kernels.errors import GlmqError

from ..json_fields import shown
from .mix_names import Mix, mix_named, tensor_type_named


@dataclass(frozen=True)
class TypeChoice:
    """How the tensors of a file get their types.

    name: of a mix (`mix_names.py`). overrides: (regular expression, type) pairs; a tensor whose full name a
    expression is found in gets the type of the first such pair, whatever the mix says. output,
    token_embedding: types of those two matrices. pure: the mix's base type for every matrix.
    classic: exactly llama-quantize's types; else the matrices of multi-token prediction (`nextn.*`) and
    those of which latent attention makes keys and values are no coarser than Q8_0.
    Raises GlmqError for unknown names and expressions that cannot be read.
    """

    name: str = "Q8_0"
    overrides: tuple[tuple[str, str], ...] = ()
    output: str | None = None
    token_embedding: str | None = None
    pure: bool = False
    classic: bool = False

    def __post_init__(self) -> None:
        mix_named(self.name)
        for expression, type_name in self.overrides:
            tensor_type_named(type_name, "tensor_type")
            try:
                re.compile(expression)
            except (re.error, OverflowError, RecursionError) as error:
                raise GlmqError(
                    f"{shown(expression)} is no regular expression: {error}", setting="tensor_type"
                ) from None
        if self.output is not None:
            tensor_type_named(self.output, "output_tensor_type")
        if self.token_embedding is not None:
            tensor_type_named(self.token_embedding, "token_embedding_type")

    @property
    def mix(self) -> Mix:
        """The mix that is named."""
        return mix_named(self.name)
