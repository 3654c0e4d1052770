"""Chats with a model that says what a test has, in this process and through pipes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import glmq
from glmq.chat.chat_session import ChatSession
from glmq.cli import slash
from glmq.cli.talk import Talk
from glmq.cli.talk_settings import TalkSettings
from glmq.sampling.recommendations import recommended
from glmq.session_file import SessionFile
from glmq.tools import ToolBox, load_tools

from .scripted_chat import Script
from .test_command_line import ENVIRONMENT

REPLY_PROGRAM = str(Path(__file__).with_name("scripted_chat.py"))
"""The command line with a model that says what a script has."""


class ScriptedTalk(Talk):
    """A chat as `glmq chat` makes it. script: what the model says. told: what commands told."""

    script: Script

    def say(self, *lines: str) -> str:
        """Type lines; gives what the last of them told if it is a command."""
        told = ""
        for line in lines:
            if line.startswith("/"):
                told = slash.run(line, self)
            else:
                self.ask(line)
        return told

    @property
    def prompts(self) -> list[str]:
        """What the model was asked."""
        return self.script.prompts

    @property
    def messages(self) -> list[dict]:
        """The conversation without the switches of turns and the ids of calls."""
        return [
            {
                key: value
                for key, value in message.items()
                if key not in ("thinking", "tool_calls", "tool_call_id")
            }
            for message in self.chat.messages
        ]


def new_talk(
    monkeypatch, model, replies, *, tools=None, approve=None, session=None, tool_timeout=60.0, **settings
):
    """A talk with a loaded model; `replies` None: with what the model itself says.

    tools: a file of them. settings: those of `TalkSettings`.
    """
    script = Script(replies or ())
    if replies is not None:
        monkeypatch.setattr(
            glmq.Model, "generate", lambda model, prompt, **more: script.generate(model, prompt, **more)
        )
    suits = recommended(model.file.metadata)
    constraint = settings.pop("constraint", None)
    max_rounds = settings.pop("max_rounds", 16)
    chosen = TalkSettings(**{"sampling": suits, "recommended": suits} | settings)
    chat = ChatSession(
        model, tools=ToolBox([load_tools(tools)] if tools else [], time_limit=tool_timeout),
        options=chosen.options(constraint), approve=approve, max_rounds=max_rounds,
    )  # fmt: skip
    chat.kept = SessionFile(session) if session else None
    talk = ScriptedTalk(
        chat, model, chosen, lambda name: glmq.load(name, n_ctx=model.n_ctx), ExitStack(), constraint
    )
    talk.script = script
    return talk


def call(name, **arguments):
    """A tool call as GLM-4.7 writes it."""
    written = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in arguments.items()
    }
    inside = "".join(
        f"<arg_key>{key}</arg_key><arg_value>{value}</arg_value>" for key, value in written.items()
    )
    return f"<tool_call>{name}{inside}</tool_call>"


def n_cached(err):
    """Tokens of each prompt that were cached, as the lines after answers tell."""
    return [
        int(found[1] or 0) for found in re.finditer(r"\[prompt \d+ tokens(?: \(and (\d+) cached\))?", err)
    ]


def write_script(folder: Path, replies, seconds=0.0):
    """A script for scripted_chat.py."""
    path = folder / f"script-{len(list(folder.glob('script-*')))}.json"
    path.write_text(json.dumps({"replies": replies, "seconds": seconds, "prompts": str(folder / "prompts")}))
    return path


def prompts_in(folder: Path):
    """What scripted models were asked."""
    return [json.loads(line) for line in (folder / "prompts").read_text().splitlines()]


def piped_chat(folder: Path, model, replies, *arguments, lines=()):
    """(exit code, standard output, standard error) of a chat through pipes."""
    script = str(write_script(folder, replies))
    done = subprocess.run(
        [sys.executable, REPLY_PROGRAM, script, "chat", str(model), "--commands", *map(str, arguments)],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        env=ENVIRONMENT,
        timeout=120,
        encoding="utf-8",
    )
    return done.returncode, done.stdout, done.stderr


def said(chat):
    """The texts of a conversation's messages."""
    return [message["content"] for message in chat.messages]
