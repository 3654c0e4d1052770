"""Running a model before its file is made: which weights matter, and what errors in each tensor cost."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from glmq_kernels.errors import GlmqError

from .options import Status, model_path
from .terminal import note

if TYPE_CHECKING:
    from glmq_convert.importance import Importance
    from glmq_convert.target_size import TargetSize

RUN_AS = "q8_0"
"""The type of the file that is made of a checkpoint only to be run."""


@dataclass(frozen=True)
class Calibration:
    """What is asked for: texts, and the model that reads them (None: the source itself)."""

    texts: tuple[Path, ...]
    model: str | None
    threads: int | None

    def check(self, has_size: bool) -> None:
        """Raise GlmqError for what does not go together."""
        if self.model and not self.texts:
            raise GlmqError(f"name a text that {self.model} is to read (--calibrate FILE)")
        if self.texts and not has_size:
            raise GlmqError("only a wanted size needs texts (--calibrate); leave them out, or name a size")


def calibrated(
    size: TargetSize, imatrix: Path | None, calibration: Calibration, source: AbstractContextManager[Path]
) -> tuple[TargetSize, Importance | None]:
    """The size with sensitivities, and the importance matrix, which the texts give unless there is one.

    source: gives a GGUF file that reads the texts unless another one is named. Where there is no room for it
    in memory there are no sensitivities, which is said.
    """
    from glmq_convert.importance import read_importance

    from ..quality.sensitivities import DoesNotFitInMemory, SensitivityOptions, measure_sensitivities

    importance = read_importance(imatrix) if imatrix else None
    status = Status()
    try:
        with _named(calibration.model, status) if calibration.model else source as model:
            if importance is None:
                importance = _importance(model, calibration, status)
            found = measure_sensitivities(
                model, calibration.texts, SensitivityOptions(n_threads=calibration.threads),
                importance=importance, progress=status.show,
            )  # fmt: skip
    except DoesNotFitInMemory as error:
        status.clear()
        note(
            f"note: what errors cost was not measured, for {error}; --calibrate-with names a smaller file of"
            " the model"
        )
        return size, importance
    finally:
        status.clear()
    return replace(size, sensitivities=found), importance


@contextmanager
def _named(name: str, status: Status) -> Iterator[Path]:
    yield model_path(name, status)


def _importance(model: Path, calibration: Calibration, status: Status) -> Importance:
    """The importance matrix of the texts, of which no file is kept."""
    from ..importance import ImportanceOptions, make_importance

    options = ImportanceOptions(n_threads=calibration.threads)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "imatrix.gguf"
        made = make_importance(model, calibration.texts, out, options, progress=status.show)
    return replace(made, file=", ".join(text.name for text in calibration.texts))


@contextmanager
def runnable_file(checkpoint: Path, beside: Path) -> Iterator[Path]:
    """A checkpoint as a Q8_0 file that can be run, in a folder that goes away in the end.

    beside: a folder on the disk that gets it. Raises GlmqError where it has no room, DoesNotFitInMemory.
    """
    from glmq_convert.conversion import checkpoint_types, convert

    from ..quality.sensitivities import check_fits

    check_fits(checkpoint, sum(tensor.n_bytes for tensor in checkpoint_types(checkpoint, RUN_AS, False)))
    status = Status()
    with tempfile.TemporaryDirectory(prefix=".glmq-", dir=beside) as folder:
        try:
            path = convert(
                checkpoint, Path(folder) / "model.gguf", RUN_AS, mtp=False,
                progress=lambda n, of: status.show("making a file that can be run", n / of),
            )  # fmt: skip
        finally:
            status.clear()
        yield path
