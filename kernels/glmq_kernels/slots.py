"""Where things stand in the int64 records that Python fills and kernels read."""

from __future__ import annotations

# The state of one run of a tape, shared by all its operations.
N_TOKENS = 0  # tokens in this batch
N_PAST = 1  # tokens in the KV cache before it
FIRST_OUTPUT = 2  # first token of the batch whose logits are wanted
N_OUTPUTS = 3  # how many from there on
KEYS = 4  # address of the key cache (see native/attention.py)
VALUES = 5  # address of the value cache
CAPACITY = 6  # positions the KV cache has room for, a multiple of 16
LOGITS = 7  # address of the logits, float32 (n_outputs, n_vocab)
TOKENS = 8  # address of the token ids, int64 (n_tokens,)
STATE_SLOTS = 16

# An activation: the input of matrix products, in every form its consumers want (native/activation.py).
ACTIVATION_ROWS = 0  # float32 (n_tokens, columns)
ACTIVATION_COLUMNS = 1
ACTIVATION_Q = 2  # int8 (n_tokens, columns), 0 where no product is in integers
ACTIVATION_SCALE = 3  # float32 (n_tokens, columns / 32)
ACTIVATION_SUM16 = 4  # float32 (n_tokens, columns / 16): scale times sum
ACTIVATION_SUM32 = 5  # float32 (n_tokens, columns / 32)
ACTIVATION_TILES = 6  # integer tiles (native/tile.py)
ACTIVATION_FLOAT_TILES = 7  # float32 tiles (native/float_product.py), 0 where no product wants them
ACTIVATION_BFLOAT_TILES = 8  # the same in bfloat16
ACTIVATION_SLOTS = 9

# The routing of a batch: which expert works on which tokens (native/routing.py).
ROUTING_N_EXPERTS = 0
ROUTING_TOP_K = 1
ROUTING_CHOSEN = 2  # int64 (n_tokens, top_k) expert ids
ROUTING_WEIGHTS = 3  # float32 (n_tokens, top_k)
ROUTING_OFFSETS = 4  # int64 (n_experts + 1,): where each expert's assignments begin, sorted by expert
ROUTING_TILE_OFFSETS = 5  # int64 (n_experts + 1,): where each expert's tiles begin
ROUTING_ORDER = 6  # int64 (n_tokens * top_k,): assignment (token * top_k + choice) at each sorted place
ROUTING_CHOICES = 7  # int64 (top_k,): which choices of a single token gate_up works on
ROUTING_N_CHOICES = 8
ROUTING_FIRST_EXPERT = 9  # which experts gate_up and down work on for several tokens
ROUTING_LAST_EXPERT = 10
ROUTING_SLOTS = 16
