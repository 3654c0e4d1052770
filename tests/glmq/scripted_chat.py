"""`glmq` with a model that says what a script has: python scripted_chat.py SCRIPT.json ARGUMENTS...

The script is {"replies": [TEXT, ...], "seconds": between tokens, "prompts": FILE that gets each prompt's text
as a line of JSON}. All else is as it is: the small model reads the prompts, and its tokens are forced.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from glmq.cli import main
from glmq.model import Model

script = json.loads(Path(sys.argv.pop(1)).read_text(encoding="utf-8"))
replies = iter(script["replies"])
generate = Model.generate


class Reply:
    """A guide that forces the tokens of a text, one at a time."""

    def __init__(self, tokens):
        self._left = tokens

    @property
    def finished(self):
        return not self._left

    def forced(self):
        time.sleep(script.get("seconds", 0))
        return self._left[:1]

    def mask(self, logits):
        pass

    def accept(self, token):
        assert self._left.pop(0) == token


def scripted(model, prompt, **arguments):
    if "prompts" in script:
        with Path(script["prompts"]).open("a", encoding="utf-8") as file:
            print(json.dumps(model.detokenize(prompt)), file=file)
    reply = next(replies, "The script is over.")
    return generate(model, prompt, **arguments | {"constraint": Reply(model.tokenizer.encode(reply))})


Model.generate = scripted
main()
