"""What drafts gain under guides, and in how many runs: rows of docs/numbers.md, as Markdown.

python bench/guided_drafts.py [--rounds 6] [--kind KIND]

Greedy answers of the demo model held to a JSON schema, and of demo-tools held to its tools' schemas or with a
thinking budget, without drafts and with them, in turn in one process; all give the same tokens, which is
checked. Runs are those of eight tokens at most, the prompt's last token among them; what counts is
the median of the rounds' ratios of time.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import glmq
from bench.drafting import GREEDY, spread
from bench.drafting_prompts import PASSAGES
from bench.numbers_page import machine
from glmq.chat.answer import Answer
from glmq.constraint import json_schema_constraint

Ask = Callable[[glmq.Model], Answer]

FACTS = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 60},
        "kind": {"enum": ["history", "science", "cooking", "nature"]},
        "facts": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "subject": {"type": "string", "maxLength": 40},
                    "statement": {"type": "string", "maxLength": 120},
                    "certain": {"type": "boolean"},
                },
                "required": ["subject", "statement", "certain"],
                "additionalProperties": False,
            },
            "minItems": 2,
            "maxItems": 3,
        },
    },
    "required": ["title", "kind", "facts"],
    "additionalProperties": False,
}

ORDER = {
    "customer": "Anna Berg",
    "items": [
        {"name": "desk lamp", "price": 39.5, "quantity": 2},
        {"name": "office chair", "price": 189.0, "quantity": 1},
        {"name": "paper, 500 sheets", "price": 6.2, "quantity": 10},
    ],
    "paid": False,
}
ORDER_SCHEMA = {
    "type": "object",
    "properties": {
        "customer": {"type": "string"},
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "price": {"type": "number"},
                    "quantity": {"type": "integer"},
                },
                "required": ["name", "price", "quantity"],
                "additionalProperties": False,
            },
        },
        "paid": {"type": "boolean"},
    },
    "required": ["customer", "items", "paid"],
    "additionalProperties": False,
}

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {key: {"type": kind} for key, kind in arguments.items()},
                "required": [*arguments],
            },
        },
    }
    for name, description, arguments in (
        ("get_weather", "The weather of a city.", {"city": "string"}),
        ("get_time", "The time in a city.", {"city": "string"}),
        ("roll_die", "Roll a die.", {"sides": "integer"}),
        ("set_alarm", "Set an alarm.", {"time": "string"}),
    )
]

CALLS = (
    "Roll a die with 20 sides.",
    "How late is it in Tehran?",
    "What is the weather in Oslo?",
    "Wake me at 7:30.",
)
THOUGHTS = (
    "What is 91 + 38?",
    "Reverse the word tooth.",
    "How long is the word pig?",
    "Which is greater: 15 or 36?",
)


def asked(content: str, **options: Any) -> Ask:
    """A question, to be put to any model."""

    def ask(model: glmq.Model) -> Answer:
        return model.chat([{"role": "user", "content": content}], sampling=GREEDY, **options)

    return ask


def in_schema(content: str, schema: Mapping[str, Any]) -> Ask:
    """A question to be answered as JSON."""
    return asked(content, constraint=json_schema_constraint(schema), max_tokens=160)


KINDS: dict[str, tuple[str, list[Ask]]] = {
    "JSON of a text": (
        "demo",
        [in_schema(f"Give the facts of this text as JSON.\n\n{passage}", FACTS) for passage in PASSAGES[:4]],
    ),
    "JSON edited": (
        "demo",
        [
            in_schema(
                f"{change}. Give the whole JSON again and nothing else.\n\n{json.dumps(ORDER)}", ORDER_SCHEMA
            )
            for change in ("Change the customer to Peter Holm", "Set paid to true", "Double the quantities")
        ],
    ),
    "tool calls": (
        "demo-tools",
        [
            asked(
                content, tools=TOOLS, tool_choice="required", max_tool_calls=1, thinking=False, max_tokens=96
            )
            for content in CALLS
        ],
    ),
    "tools with thinking": (
        "demo-tools",
        [asked(content, tools=TOOLS, strict_tools=True, thinking=True, max_tokens=96) for content in CALLS],
    ),
    "a thinking budget": (
        "demo-tools",
        [asked(content, thinking=True, think_budget=8, max_tokens=96) for content in THOUGHTS],
    ),
}


class CountedRuns:
    """Counts the runs of a model that decode."""

    def __init__(self, model: glmq.Model) -> None:
        self.n_runs = 0
        engine: Any = model._engine
        run_step = engine.run_step

        def counted(chunks: Any, *more: Any) -> Any:
            self.n_runs += all(chunk.request.decodes for chunk in chunks)
            return run_step(chunks, *more)

        engine.run_step = counted


def measured(kind: str, asks: list[Ask], models: list[glmq.Model], n_rounds: int) -> str:
    """A row of the table. models: without drafts, and with them."""
    counts = [CountedRuns(model) for model in models]
    ratios, seconds, n_tokens = [], [list[float](), list[float]()], 0
    for i in range(n_rounds + 1):
        spent = [0.0, 0.0]
        n_tokens = 0
        for ask in asks:
            tokens = {}
            for place in (0, 1) if i % 2 else (1, 0):
                answer = ask(models[place])
                answer.run()
                spent[place] += answer.timings.decode_seconds
                tokens[place] = answer.generation.tokens
            if tokens[0] != tokens[1]:
                raise SystemExit(f"answers of {kind} differ")
            n_tokens += len(tokens[0])
        if i:  # the first round reads the prompts
            ratios.append(spent[0] / spent[1])
            for place in (0, 1):
                seconds[place].append(spent[place])
    per_answer = [count.n_runs / len(asks) / (n_rounds + 1) for count in counts]
    per_second = [n_tokens / statistics.median(each) for each in seconds]
    told = (
        kind,
        f"{n_tokens / len(asks):.0f}",
        *(f"{each:.1f}" for each in per_answer),
        *(f"{each:.0f}" for each in per_second),
        f"{statistics.median(ratios):.2f} ({spread(ratios)})",
    )
    return f"| {' | '.join(told)} |"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--kind", choices=tuple(KINDS), action="append")
    parser.add_argument("--draft", default="auto")
    options = parser.parse_args()
    print(f"{machine()}; drafts: {options.draft}\n")
    print("| answers | tokens | runs, plain | with drafts | tokens/s, plain | with drafts | gain |")
    print("|" + " --- |" * 7)
    for kind in options.kind or KINDS:
        name, asks = KINDS[kind]
        with ExitStack() as stack:
            models = [
                stack.enter_context(glmq.load(name, draft=draft, n_ctx=2048))
                for draft in ("off", options.draft)
            ]
            print(measured(kind, asks, models, options.rounds), flush=True)


if __name__ == "__main__":
    main()
