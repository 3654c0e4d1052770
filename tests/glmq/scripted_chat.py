"""Models that say what a script has: they read their prompts as they are, and their tokens are forced.

`python scripted_chat.py SCRIPT.json ARGUMENTS...` is `glmq ARGUMENTS...` with such a model. The script is
{"replies": [TEXT, ...], "seconds": between tokens, "prompts": FILE that gets each prompt's text as a line of
JSON}.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

from glmq.model import Model

generate = Model.generate


class Script:
    """What a model says, one reply after another.

    prompts: what it was asked. seconds: between tokens. stop_at: `stop`, which presses Ctrl-C, is called
    when that of a reply is said.
    """

    stop_at: str | None = None
    stop = staticmethod(lambda: signal.raise_signal(signal.SIGINT))

    def __init__(self, replies=(), *, seconds=0.0, prompts_file=None):
        self.replies, self.prompts = list(replies), []
        self.seconds, self._prompts_file = seconds, prompts_file

    def generate(self, model, prompt, **arguments):
        """In place of `Model.generate`."""
        self.prompts.append(model.detokenize(prompt))
        if self._prompts_file:
            with Path(self._prompts_file).open("a", encoding="utf-8") as file:
                print(json.dumps(self.prompts[-1]), file=file)
        reply = self.replies.pop(0) if self.replies else "The script is over."
        guide = Reply(model.tokenizer.encode(reply), self.seconds)
        guide.stop, guide.n_until_stop = self.stop, self._n_until_stop(model, reply)
        return generate(model, prompt, **arguments | {"constraint": guide})

    def _n_until_stop(self, model, reply):
        if self.stop_at is None or self.stop_at not in reply:
            return None
        return len(model.tokenizer.encode(reply[: reply.index(self.stop_at) + len(self.stop_at)]))


class Reply:
    """A guide that forces tokens: one at a time if that takes time, else all but the last, and then that.

    n_until_stop: tokens after which `stop` is called, if it is.
    """

    def __init__(self, tokens, seconds=0.0):
        self._left, self._seconds = tokens, seconds
        self.stop, self.n_until_stop = None, None

    @property
    def finished(self):
        return not self._left

    def forced(self):
        if self.n_until_stop == 0:
            self.n_until_stop = None
            self.stop()
        time.sleep(self._seconds)
        n = self.n_until_stop or len(self._left) - 1 or 1
        return self._left[: 1 if self._seconds else n]

    def mask(self, logits):
        pass

    def accept(self, token):
        assert self._left.pop(0) == token
        if self.n_until_stop is not None:
            self.n_until_stop -= 1


def main() -> None:
    from glmq.cli import main as glmq

    settings = json.loads(Path(sys.argv.pop(1)).read_text(encoding="utf-8"))
    script = Script(
        settings["replies"], seconds=settings.get("seconds", 0.0), prompts_file=settings.get("prompts")
    )
    Model.generate = lambda model, prompt, **arguments: script.generate(model, prompt, **arguments)
    glmq()


if __name__ == "__main__":
    main()
