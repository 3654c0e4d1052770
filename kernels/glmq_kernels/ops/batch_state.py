"""The state of one run of a tape, shared by all its operations: an int64 record that Python fills.

A run is a batch of tokens of any number of sequences. Tokens of one sequence stand together in the order of
their positions (a *segment*). Those whose products take the row form come first, then those of the panel
form. Only what this record says differs between runs; a tape is never rebuilt.
"""

from __future__ import annotations

N_TOKENS = 0  # tokens in this run
N_ROW_TOKENS = 1  # the first so many take the row form of products, the others the panel form
TOKENS = 2  # address of int64 (n_tokens,): token ids
POSITIONS = 3  # address of int64 (n_tokens,): their positions in their sequences
PAGE_TABLES = 4  # address of int64 (n_tokens,): addresses of their sequences' page tables (cache_layout.py)
N_OUTPUTS = 5  # rows of outputs wanted
N_ROW_OUTPUTS = 6  # the first so many take the row form
OUTPUTS = 7  # address of int64 (n_outputs,): the token of each output row, those of the row form first
N_LOGITS = 8  # rows of logits wanted: of all outputs, none, or those that LOGIT_OUTPUTS names
LOGITS = 9  # address of float32 (n_logits, n_vocab)
ATTENTION_WORK = 10  # address of int64 (n_attention_work, fields): the work list (ops/attention/plan.py)
N_ATTENTION_WORK = 11  # its items
ATTENTION_IS_WHOLE = (
    13  # 1: of one token, without partial results; what is left is done by every thread itself
)
ATTENTION_SLOTS = 12  # address of int64 (n_tokens,): first slot of a token's partial results, or -1
N_ATTEND_TOKENS = 14  # the first so many tokens' attention is that of ops/attention
N_ATTEND_OUTPUTS = 15  # the first so many outputs are theirs
PROMPT_WORK = 16  # address of int64 (n_prompt_work, fields): the others' work list, in panels or expanded
N_PROMPT_WORK = 17  # its items
N_ROW_LOGITS = 18  # the first so many rows of logits take the row form
LOGIT_OUTPUTS = 19  # address of int64 (n_logits,): the output row of each row of logits
