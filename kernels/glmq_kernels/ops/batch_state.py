"""The state of one run of a tape, shared by all its operations: an int64 record that Python fills."""

from __future__ import annotations

N_TOKENS = 0  # tokens in this batch
N_PAST = 1  # tokens in the KV cache before it
FIRST_OUTPUT = 2  # first token of the batch whose logits are wanted
N_OUTPUTS = 3  # how many from there on
KEYS = 4  # address of the key cache (see ops/attention/kernel.py)
VALUES = 5  # address of the value cache
CAPACITY = 6  # positions the KV cache has room for, a multiple of 16
LOGITS = 7  # address of the logits, float32 (n_outputs, n_vocab)
TOKENS = 8  # address of the token ids, int64 (n_tokens,)
STATE_SLOTS = 16
