"""Sizes that the kernels and their callers agree on for products of many tokens."""

from __future__ import annotations

from ..formats.tensor_types import MATRIX_TYPES
from ..jit import isa

STRETCH = 512
"""Columns of a panel that are unpacked at a time."""

WORD_STRETCH = 256
"""The same where weights become 16-bit words (`gemm/avx2_tile.py`)."""

FLOAT_STRETCH_BYTES = 1024
"""Bytes of the columns of a float matrix that are brought near at a time."""

ROWS = 32
"""Weight rows that are multiplied together; threads share rows out in these units."""

ROW_TOKENS = 8
"""Most tokens that meet a row at once in the row form; more go in groups."""

ROW_RESULTS_BYTES = 4 * ROW_TOKENS * ROWS
ROW_NUMBERS = 2 * ROW_RESULTS_BYTES
ROW_SUMS = ROW_NUMBERS + 8 * ROW_TOKENS
"""Where a thread's scratch has what the row form works on (drawn in `gemm/row_form.py`)."""

ROW_SPARE_BYTES = 8 * 34
ROW_SCRATCH_BYTES = ROW_TOKENS * (4 * 128 + 8) + 8 + 2 * ROW_SPARE_BYTES
"""Room for the sums and addresses of these with four rows, a 0, and twice 256 weights (`gemm/gemv.py`)."""

ROW_RECORD_BYTES = 384
"""Of a token's record for 256 columns in the row form (drawn in `gemm/row_record.py`)."""

PANEL_BUFFER_SCALES = 16 * 256
PANEL_BUFFER_MINIMA = PANEL_BUFFER_SCALES + 16 * 64
PANEL_BUFFER_BYTES = PANEL_BUFFER_MINIMA + 16 * 64
"""The buffer through which rows become panels (drawn in `gemm/panel.py`)."""

AMX_STRETCH = 512
"""Columns of panels that are unpacked at a time for AMX (`gemm/amx_product.py`)."""

AMX_PANEL_BYTES = 2048 * (AMX_STRETCH // 32 + 1)
"""Of 32 rows."""

AMX_FIELDS_BYTES = 2 * 16 * 64
"""Room for the scales of 256 columns, and as many numbers that are added."""


def panel_rows() -> int:
    """Most weight rows that meet panels' tokens together, a multiple of ROWS."""
    return 4 * ROWS if isa.current().amx else ROWS


def panel_scratch_bytes() -> int:
    """Room for a stretch of unpacked weights of any format."""
    in_floats = FLOAT_STRETCH_BYTES * ROWS
    if isa.current().amx:
        return max(panel_rows() // ROWS * AMX_PANEL_BYTES + AMX_FIELDS_BYTES, in_floats)
    return max(2 * (STRETCH // 32 + 1) * (512 + 2 * 3 * 64), in_floats)


def few() -> int:
    """Up to so many tokens that could take panels are multiplied row by row: until then that is faster."""
    level = isa.current()
    if level.amx:
        return 8
    return 16 if level.dot_lanes == 16 and level.dot == "vnni" else 12


def record_bytes(tile: int) -> int:
    """Bytes of a tile's record for one block of 32 columns (drawn in `gemm/tile_record.py`)."""
    return 48 * tile


def row_records_bytes(columns: int) -> int:
    """Bytes of a token's records in the row form (drawn in `gemm/row_record.py`)."""
    return -(-columns // 256) * ROW_RECORD_BYTES


def takes_bfloat(type_name: str) -> bool:
    """Whether products of many tokens with a tensor type want them as bfloat16, unless all are in float32."""
    level = isa.current()
    return level.bfloat if type_name == "BF16" else level.amx and not MATRIX_TYPES[type_name].is_float


def float_tile_bytes(columns: int, bfloat: bool) -> int:
    """Bytes of a float tile (drawn in `gemm/float_gemm.py`)."""
    return -(-columns // (32 if bfloat else 16)) * 64 * isa.current().tile


def tile_count(n_tokens: int) -> int:
    """Tiles that hold `n_tokens`."""
    return -(-n_tokens // isa.current().tile)
