"""The state of one run of a tape, shared by all its operations: an int64 record that Python fills.

A run is a batch of tokens of any number of sequences. Tokens of one sequence stand together in the order of
their positions (a *segment*). Those whose products take the row form come first, then those of the panel
form. Only what this record says differs between runs; a tape is never rebuilt.
"""

from __future__ import annotations

N_TOKENS = 0  # tokens in this run
N_ROW_TOKENS = 16  # the first so many take the row form of products, the others the panel form
TOKENS = 8  # address of int64 (n_tokens,): token ids
POSITIONS = 9  # address of int64 (n_tokens,): their positions in their sequences
PAGE_TABLES = 10  # address of int64 (n_tokens,): addresses of their sequences' page tables (cache_layout.py)
N_OUTPUTS = 3  # rows of outputs wanted
N_ROW_OUTPUTS = 11  # the first so many take the row form
OUTPUTS = 12  # address of int64 (n_outputs,): the token of each output row, those of the row form first
N_LOGITS = 13  # the first so many output rows want logits; the others only the last hidden state
LOGITS = 7  # address of float32 (n_logits, n_vocab)
ATTENTION_WORK = 14  # address of int64 (n_attention_work, fields): the work list (ops/attention/plan.py)
N_ATTENTION_WORK = 15  # its items
ATTENTION_SLOTS = 17  # address of int64 (n_tokens,): first slot of a token's partial results, or -1

N_PAST = 1  # tokens in the KV cache before it
KEYS = 4  # address of the key cache (see ops/attention/kernel.py)
VALUES = 5  # address of the value cache
CAPACITY = 6  # positions the KV cache has room for, a multiple of 16
STATE_SLOTS = 24
