"""The options of commands that draw tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import click

from ..sampling.from_text import NAMES, biases_of, breakers_of, steps_of
from ..sampling.recommendations import FILE_KEYS
from ..sampling.settings import STEPS, Sampling

Command = TypeVar("Command", bound=Callable[..., Any])
DEFAULTS = Sampling()

OPTIONS: tuple[tuple[str, type, str], ...] = (
    ("--temp", float, "Temperature; 0 always takes the likeliest token."),
    ("--top-k", int, "Draw from that many likeliest tokens; 0 is no limit."),
    ("--top-p", float, "Draw from the likeliest tokens that make up this share; 1 is no limit."),
    ("--min-p", float, "Leave out tokens less likely than this share of the likeliest; 0 is no limit."),
    ("--typical", float, "Draw from the most typical tokens that make up this share; 1 is no limit."),
    ("--top-n-sigma", float, "Leave out logits that many standard deviations below the highest; -1 is off."),
    ("--xtc-probability", float, "How often all probable tokens but the last are left out; 0 is off."),
    ("--xtc-threshold", float, "Share from which on tokens are probable; above 0.5 is off."),
    ("--dry-multiplier", float, "Penalty for continuing a repetition; 0 is off."),
    ("--dry-base", float, "How that penalty grows with each further token."),
    ("--dry-allowed-length", int, "Longest repetition without that penalty, in tokens."),
    ("--dry-penalty-last-n", int, "Look for repetitions in that many last tokens."),
    ("--repeat-penalty", float, "Divide the logits of recent tokens; 1 is off."),
    ("--repeat-last-n", int, "That many last tokens are recent."),
    ("--presence-penalty", float, "Take this off the logits of recent tokens."),
    ("--frequency-penalty", float, "Take this off for every time that they came."),
    ("--mirostat", int, "2 is Mirostat 2.0, in place of all steps but the temperature; 0 is off."),
    ("--mirostat-lr", float, "Mirostat's learning rate (eta)."),
    ("--mirostat-ent", float, "Mirostat's target, in bits per token (tau)."),
)
"""Options that stand for one number: name, type, help."""


def sampling_options(command: Command) -> Command:
    """Options that `sampling_of` turns into a `Sampling`. Those not given are None or empty."""
    options = [
        *(click.option(name, type=kind, help=f"{text} {_default(name)}") for name, kind, text in OPTIONS),
        click.option("--dry-sequence-breaker", multiple=True, metavar="TEXT",
                     help="Repetitions end at this text; may be repeated, none is no such text."
                          """ [default: \\n : " *]"""),
        click.option("-l", "--logit-bias", multiple=True, metavar="TOKEN(+|-)BIAS",
                     help="Add to the logit of a token id: 15043+1, 15043-inf; may be repeated."),
        click.option("--samplers", metavar="ORDER",
                     help="Steps in the order in which they act, with ; between them."
                          f" [default: the model's, else {';'.join(STEPS)}]"),
        click.option("--seed", type=int,
                     help="The same seed draws the same text from the same state. A prompt of which a part"
                          " was read before may round differently, also at temperature 0."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def sampling_of(recommended: Sampling, **values: Any) -> Sampling:
    """The sampling that the options ask for, and for those not given the recommended one.

    Raises GlmqError for values that make no sense.
    """
    given = {name: value for name, value in values.items() if value not in (None, ())}
    return replace(recommended, **{NAMES.get(name, name): _read(name, given[name]) for name in given})


def _read(option: str, value: Any) -> Any:
    readers = {"samplers": steps_of, "logit_bias": biases_of, "dry_sequence_breaker": breakers_of}
    return readers[option](value) if option in readers else value


def _default(option: str) -> str:
    name = option[2:].replace("-", "_")
    name = NAMES.get(name, name)
    value = f"{getattr(DEFAULTS, name):g}"
    return f"[default: the model's, else {value}]" if name in FILE_KEYS else f"[default: {value}]"
