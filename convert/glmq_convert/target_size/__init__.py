"""Files of a wanted size: a type for each tensor, chosen by what its rounding costs.

target_size      the size that is asked for
sampled_errors   how far each type is from some rows of each tensor
sensitivity      how much an error in a tensor changes what the model predicts
choosing         the types of least cost within a number of bytes
overhead         what the file holds beside its tensors
types_for_size   all of it: a model's types
"""

from .overhead import overhead
from .target_size import TargetSize
from .types_for_size import types_for_size

__all__ = ["TargetSize", "overhead", "types_for_size"]
