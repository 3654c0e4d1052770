"""An activation: the input of matrix products, in every form its consumers want (`activation.py`): int64s."""

from __future__ import annotations

ACTIVATION_ROWS = 0  # float32 (n_tokens, columns)
ACTIVATION_COLUMNS = 1
ACTIVATION_ROW_RECORDS = 2  # each token as int8 (gemm/row_record.py), 0 where no product is in integers
ACTIVATION_TILES = 3  # integer tiles (gemm/tile.py)
ACTIVATION_FLOAT_TILES = 4  # float32 tiles (gemm/float_gemm.py), 0 where no product wants them
ACTIVATION_BFLOAT_TILES = 5  # the same in bfloat16
ACTIVATION_SLOTS = 6
