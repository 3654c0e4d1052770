"""Commands on how answers are made, and by which model."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from glmq_kernels.errors import GlmqError

from ...chat.thinking import thinking_format
from ..completion import paths, words
from ..model_argument import model_names
from ..talk import Talk
from ..talk_settings import LIMITS, changed, setting_name, setting_names
from ..terminal import counted
from .slash_command import SlashCommand

_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", "\t": r"\t", "\r": r"\r", " ": r"\x20"})


def _set(talk: Talk, argument: str) -> str:
    typed, _, value = argument.partition(" ")
    if not typed:
        return "\n".join(f"{name} {value}" for name, value in _all_settings(talk).items())
    name = setting_name(typed)
    if name != "default" and not value.strip():
        return f"{name} {_all_settings(talk)[name]}"
    if name == "default" and value.strip():
        raise GlmqError("/set default takes no value; /set NAME default resets one setting")
    talk.change_settings(changed(talk.settings, name, value))
    if name == "default":
        return "Tokens are drawn as suits the model from now on; /set shows how."
    return f"{name} is {_all_settings(talk)[name]} now."


def _all_settings(talk: Talk) -> dict[str, str]:
    """Every setting as /set takes it."""
    own = {each.name: getattr(talk.settings, each.name) for each in fields(talk.settings)}
    sampling = own.pop("sampling")
    del own["recommended"], own["limits"]
    own |= {each.name: getattr(sampling, each.name) for each in fields(sampling)}
    return {name: _shown(name, value) for name, value in own.items()}


def _shown(name: str, value: Any) -> str:
    """A value as /set takes it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if name == "order":
        return ";".join(value)
    if name == "dry_breakers":
        return " ".join(each.translate(_ESCAPED) for each in value) or "none"
    if name == "logit_bias":
        return " ".join(f"{token}{bias:+g}" for token, bias in value.items()) or "none"
    if value is None:
        return "off" if name in LIMITS else "default"
    return str(value)


def _think(talk: Talk, argument: str) -> str:
    return _switch_thinking(talk, argument, True)


def _nothink(talk: Talk, argument: str) -> str:
    return _switch_thinking(talk, argument, False)


def _switch_thinking(talk: Talk, argument: str, think: bool) -> str:
    """With a message for its turn alone, without one from now on."""
    if not thinking_format(talk.model.chat_template).has_switch:
        raise GlmqError("this model has no switch for thinking")
    if argument:
        talk.ask(argument, think)
        return ""
    talk.change_settings(replace(talk.settings, think=think))
    return f"think is {'on' if think else 'off'} now: answers come {'with' if think else 'without'} thinking."


def _models_and_paths(typed: str) -> list[str]:
    return [*model_names(typed), *paths(typed)]


def _model(talk: Talk, argument: str) -> str:
    if not argument:
        return talk.described()
    return "\n".join([*talk.change_model(argument), talk.described()])


def _stats(talk: Talk, argument: str) -> str:
    return talk.statistics()


def _tokens(talk: Talk, argument: str) -> str:
    if argument:
        return f"{counted(len(talk.model.tokenize(argument)), 'token')}."
    return f"{talk.context_use()}, {counted(talk.chat.conversation.n_turns, 'turn')}."


def _tools(talk: Talk, argument: str) -> str:
    tools = [tool["function"] for tool in talk.chat.tools]
    if talk.chat.toolbox.definitions and not tools:
        return "This model's chat template tells of no tools, so none are offered to it."
    if not tools:
        return "There are no tools; start with --tools FILE or --mcp COMMAND."
    return "\n".join(f"{tool['name']}  {tool.get('description', '').split(chr(10))[0]}" for tool in tools)


COMMANDS = {
    "/think": SlashCommand("[TEXT]", "have this message, or all from now on, answered with thinking", _think),
    "/nothink": SlashCommand("[TEXT]", "the same without thinking", _nothink),
    "/set": SlashCommand(
        "[NAME VALUE]", "show all settings, or that of NAME, or change it", _set, words(setting_names())
    ),
    "/model": SlashCommand(
        "[MODEL]", "tell which model answers, or go on with another", _model, _models_and_paths
    ),
    "/tokens": SlashCommand("[TEXT]", "count the tokens of the conversation, or of a text", _tokens),
    "/tools": SlashCommand("", "list what the model may call", _tools),
    "/stats": SlashCommand("", "show how the model uses memory and disk", _stats),
}
