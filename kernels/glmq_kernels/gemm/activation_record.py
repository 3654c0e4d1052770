"""An activation: the input of matrix products, in every form its consumers want (`activation.py`): int64s."""

from __future__ import annotations

ACTIVATION_ROWS = 0  # float32 (n_tokens, columns)
ACTIVATION_COLUMNS = 1
ACTIVATION_Q = 2  # int8 (n_tokens, columns), 0 where no product is in integers
ACTIVATION_SCALE = 3  # float32 (n_tokens, columns / 32)
ACTIVATION_SUM16 = 4  # float32 (n_tokens, columns / 16): scale times sum
ACTIVATION_SUM32 = 5  # float32 (n_tokens, columns / 32)
ACTIVATION_TILES = 6  # integer tiles (gemm/tile.py)
ACTIVATION_FLOAT_TILES = 7  # float32 tiles (gemm/float_gemm.py), 0 where no product wants them
ACTIVATION_BFLOAT_TILES = 8  # the same in bfloat16
ACTIVATION_SLOTS = 9
