"""Prints what `demo-tools` predicts behind each token of a text: JSON, logits by the form of activations.

python tests/arm/whole_model.py   Run by run.py on the emulated machine and on this one.
"""

from __future__ import annotations

import json

import glmq

TEXT = "What is 17 times 23?"


def main():
    found = {}
    for activations in ("f32", "int8"):
        with glmq.load("demo-tools", n_threads=2, n_ctx=64, activations=activations) as model:
            logits = model.logits(model.tokenize(TEXT))
            found[activations] = logits.astype(float).round(4).tolist()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
