"""A model's weights as the kernels take them: matrices where they lie in the file, vectors as float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from glmq_kernels.arrays import ROW_PADDING, aligned_zeros
from glmq_kernels.disk_reads.disk_reader import Part
from glmq_kernels.errors import GlmqError
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from glmq_kernels.ops.operands import Experts, Matrix, matrix_of

from .experts.disk import Disk
from .gguf import GET_IT_AGAIN, GGUFFile
from .transcoded_tensors import TranscodedTensors

TABLES = ("rotary_emb.inv_freq", ".attn_rot_embd.weight")
"""Endings of tensors that can be worked out from the metadata, which old conversions kept."""

VECTOR_TYPES = {"F32": np.float32, "F16": np.float16}


class Weights:
    """The tensors of a GGUF file by name, checked against the shape that the model gives them.

    file: which one. disk: where to read them from instead of using them where they are mapped. Stacked
    experts then have no addresses but `parts`, and come into memory later.

    rewritten: matrices that are kept in another form than the file's, by name, float arrays; those of an
    earlier build of the same model are not made again.

    observes: of a tensor's name, whether the inputs that its matrices meet are to be added up.

    transcoded: where matrices that can be are not used as they are. Before it has made them they have no
    addresses.

    keeps_experts: stacked experts are read from the disk into memory as all else is.
    """

    def __init__(
        self,
        file: GGUFFile,
        disk: Disk | None = None,
        rewritten: dict[str, np.ndarray] | None = None,
        observes: Callable[[str], bool] = lambda name: False,
        transcoded: TranscodedTensors | None = None,
        *,
        keeps_experts: bool = False,
    ) -> None:
        self.file = file
        self._disk, self._transcoded, self._keeps_experts = disk, transcoded, keeps_experts
        self.observes = observes
        self.rewritten = {} if rewritten is None else rewritten
        self._used: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self.file.tensors

    def check(self, name: str, shape: tuple[int, ...]) -> str:
        """The type of a tensor; GlmqError when it is not there, has another shape or no kernels."""
        tensor = self.file.tensors.get(name)
        if tensor is None:
            raise GlmqError(f"{self.file.path}: tensor {name} is missing; the file is damaged or incomplete")
        if tensor.type not in KERNEL_TYPES:
            raise GlmqError(
                f"{self.file.path}: tensor {name} has type {tensor.type}, which glmq cannot run yet;"
                f" choose a file with {', '.join(KERNEL_TYPES)}"
            )
        if tuple(tensor.shape) != shape:
            raise GlmqError(
                f"{self.file.path}: tensor {name} has shape {tuple(tensor.shape)},"
                f" but by the metadata it should have {shape}"
            )
        self._used.add(name)
        return tensor.type

    def check_all_used(self, is_left_alone: Callable[[str], bool] = lambda name: False) -> None:
        """Refuse a file with a tensor that nothing asked for: a part of the model that would be missing.

        is_left_alone: of a name, whether the computation rightly does without it.
        """
        extra = [
            name
            for name in self.file.tensors
            if name not in self._used and not name.endswith(TABLES) and not is_left_alone(name)
        ]
        if extra:
            more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
            raise GlmqError(
                f"{self.file.path}: tensor {extra[0]}{more} in the file, which glmq does not compute with;"
                " choose another file of this model"
            )

    def matrix(
        self, name: str, rows: int, columns: int, *, sparse: bool = False, as_stored: bool = False
    ) -> Matrix:
        """A weight matrix (rows, columns).

        sparse: of which few rows are used, so that it stays mapped. as_stored: not transcoded.
        """
        type_name = self.check(name, (rows, columns))
        if sparse and self._disk is not None:
            data = self._disk.map_rows(self.file.tensor(name))
            return matrix_of(data, rows, columns, type_name, self._observed_as(name))
        return self._first_matrix(name, rows, columns, as_stored=sparse or as_stored)

    def matrix_of_heads(self, name: str, n_heads: int, rows: int, columns: int) -> Matrix:
        """The first of the matrices of a tensor (n_heads, rows, columns), behind which the others lie."""
        self.check(name, (n_heads, rows, columns))
        return self._first_matrix(name, rows, columns)

    def _first_matrix(self, name: str, rows: int, columns: int, *, as_stored: bool = False) -> Matrix:
        """A matrix (rows, columns) at the beginning of a tensor."""
        type_name = self.type_in_memory(name, as_stored=as_stored)
        data: np.ndarray | None
        if type_name != self.file.tensor(name).type:
            data = self._made(name)
        elif self._disk is None:
            data = self.file.data(name)
        else:
            data = self._disk.load(self.file.tensor(name))
        return self._matrix_of(data, rows, columns, type_name, name)

    def type_in_memory(self, name: str, *, as_stored: bool = False) -> str:
        """The type of a tensor, or what it becomes where it is transcoded."""
        info = self.file.tensor(name)
        if as_stored or self._transcoded is None:
            return info.type
        return self._transcoded.want(info) or info.type

    def _made(self, name: str) -> np.ndarray | None:
        """The bytes of a tensor that is transcoded, if it has been."""
        return None if self._transcoded is None else self._transcoded.made(name)

    def _matrix_of(
        self, data: np.ndarray | None, rows: int, columns: int, type_name: str, name: str
    ) -> Matrix:
        """A matrix over the bytes of a tensor, without an address as long as there are none."""
        if data is None:
            return Matrix(0, rows, columns, type_name, observed_as=self._observed_as(name))
        return matrix_of(data, rows, columns, type_name, self._observed_as(name))

    def _observed_as(self, name: str) -> str:
        return name if self.observes(name) else ""

    def rewrite(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """What `make` gives, float32 or float16 (..., columns), made once and kept under a name."""
        if name not in self.rewritten:
            self.rewritten[name] = make()
        return self.rewritten[name]

    def vector(self, name: str, size: int) -> np.ndarray:
        """A float32 (size,) vector, padded so that 16 lanes may be read from any entry.

        GlmqError where one of its numbers is NaN or infinite.
        """
        type_name = self.check(name, (size,))
        if type_name not in VECTOR_TYPES:
            raise GlmqError(f"{self.file.path}: tensor {name} is {type_name}; a vector must be F32 or F16")
        padded = aligned_zeros(4 * size + ROW_PADDING).view(np.float32)
        padded[:size] = np.ascontiguousarray(self.file.data(name)).view(VECTOR_TYPES[type_name])
        if not np.isfinite(padded).all():
            raise GlmqError(
                f"{self.file.path}: tensor {name} is not finite (NaN or infinity among its values);"
                f" the file is damaged: {GET_IT_AGAIN}"
            )
        return padded[:size]

    def optional_vector(self, name: str, size: int) -> np.ndarray | None:
        """The same, or None where the file has no such tensor."""
        return self.vector(name, size) if name in self else None

    def stacked(self, name: str, count: int, rows: int, columns: int, n_each: int = 1) -> list[Matrix]:
        """The matrices (rows, columns) of a tensor (count, n_each * rows, columns), expert by expert."""
        stored, n = self.check(name, (count, n_each * rows, columns)), count * n_each
        type_name = self.type_in_memory(name)
        data = None
        if type_name != stored:
            data = self._made(name)
        elif self._disk is None:
            data = self.file.data(name)
        elif self._keeps_experts:
            data = self._disk.load(self.file.tensor(name))
        each = [None] * n if data is None else data.reshape(n, -1)
        return [self._matrix_of(one, rows, columns, type_name, name) for one in each]

    def parts(self, prefix: str, count: int) -> list[tuple[Part, Part, Part]]:
        """Where the stacked gate, up and down of each of `count` experts lie; none where they are mapped."""
        if self._disk is None or self._keeps_experts:
            return []
        down = self._disk.parts(self.file.tensor(f"{prefix}.ffn_down_exps.weight"), count)
        if (both := _gate_up(prefix)) in self:
            halves = self._disk.parts(self.file.tensor(both), 2 * count)
            return list(zip(halves[::2], halves[1::2], down, strict=True))
        gate, up = (
            self._disk.parts(self.file.tensor(f"{prefix}.ffn_{part}_exps.weight"), count)
            for part in ("gate", "up")
        )
        return list(zip(gate, up, down, strict=True))

    def experts(self, prefix: str, hidden_size: int, width: int, count: int) -> Experts:
        """Gate, up and down of `count` stacked experts. Gate and up may be one tensor, gate first."""
        down = self.stacked(f"{prefix}.ffn_down_exps.weight", count, hidden_size, width)
        if (both := _gate_up(prefix)) in self:
            halves = self.stacked(both, count, width, hidden_size, n_each=2)
            return Experts(halves[::2], halves[1::2], down)
        gate, up = (
            self.stacked(f"{prefix}.ffn_{part}_exps.weight", count, width, hidden_size)
            for part in ("gate", "up")
        )
        return Experts(gate, up, down)

    def network(self, prefix: str, suffix: str, hidden_size: int, width: int) -> Experts:
        """Gate, up and down of a dense network."""
        names = [f"{prefix}.ffn_{part}{suffix}.weight" for part in ("gate", "up", "down")]
        shapes = [(width, hidden_size), (width, hidden_size), (hidden_size, width)]
        gate, up, down = ([self.matrix(name, *shape)] for name, shape in zip(names, shapes, strict=True))
        return Experts(gate, up, down)


def _gate_up(prefix: str) -> str:
    """The tensor that holds gate and up of stacked experts, where they are one."""
    return f"{prefix}.ffn_gate_up_exps.weight"
