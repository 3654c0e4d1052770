"""Names of sections of a model's tape, where more than one place must know them.

Each layer has one that begins with it, and layers with routed experts some within
(`experts/expert_layer.py`).
"""

from __future__ import annotations

LAYER = r"blk\.\d+"
"""Names of the sections with which layers begin."""

END_WITHOUT_OUTPUTS = "outputs"
"""From here on the last layer is worked out only for tokens whose outputs are wanted."""

STORE = "store"
"""Of a layer of multi-token prediction: keys and values alone. What comes before it is for all runs."""

FINAL_NORM = "final_norm"
"""The final norm of the tokens with outputs, behind the last layer."""

HEAD = "head"
"""The logits."""

DRAFT_HEAD = "draft_head"
"""Of a layer of multi-token prediction, behind its head: the logits of likely tokens alone, for drafts."""
