"""Which type each tensor of a file gets: the names that llama-quantize knows, presets, and the user's word.

type_choice.py   what is asked for: a name, and types for some tensors
mix_names.py     the names, with the number that each has in a file
classic.py       the rules behind llama-quantize's names
presets.py       mixes that keep everything but the routed experts at Q8_0
choosing.py      the types of all tensors of a file
needed_importance.py  importance for tensors, and other types where it is needed and missing
size_table.py    what the file will hold, by kinds of tensors
"""

from .choosing import check_writable, choose_types
from .needed_importance import check_not_poor, untyped_with_importance, with_importance
from .size_table import size_table
from .type_choice import TypeChoice

__all__ = [
    "TypeChoice", "check_not_poor", "check_writable", "choose_types", "size_table",
    "untyped_with_importance", "with_importance",
]  # fmt: skip
