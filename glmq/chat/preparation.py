"""What is decided of an answer before its first token: the prompt, what holds it, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..guide import Guide
from ..tokenizer import Tokenizer
from .options import ChatOptions
from .output_parser import OutputParser
from .prompt import prompt_tokens
from .prompt_messages import rendered_prompt
from .template import ChatTemplate
from .thinking import RenderedPrompt
from .tool_choice import ToolChoice, tool_choice_of
from .tool_definitions import check_tools

if TYPE_CHECKING:
    from ..constraint import Constraint


@dataclass(frozen=True)
class PreparedAnswer:
    """tokens: of the prompt. guide: what holds the output, if anything. parser: reads it. notes: what of the
    tools' schemas is not held, a line each.
    """

    tokens: list[int]
    guide: Guide | None
    parser: OutputParser
    notes: tuple[str, ...]


def prepare_answer(
    template: ChatTemplate,
    tokenizer: Tokenizer,
    messages: object,
    tools: object,
    options: ChatOptions,
    known: Callable[[str], Sequence[int]],
    *,
    add_generation_prompt: bool,
    continue_final_message: bool | str,
) -> PreparedAnswer:
    """Prepare the answer to messages. known: gives tokens that a prompt's text may begin with.

    Raises TypeError for what has a wrong type and GlmqError for messages, tools and options that cannot be.
    """
    definitions = check_tools(tools)
    choice = tool_choice_of(options.tool_choice, definitions)
    if choice.offers_none:
        definitions = []
    prompt = rendered_prompt(
        template, tokenizer, messages, definitions,
        thinking=options.thinking, preserve=options.preserve_thinking,
        add_generation_prompt=add_generation_prompt, continue_final_message=continue_final_message,
        template_arguments=options.template_arguments,
    )  # fmt: skip
    holds_calls = bool(definitions) and (
        options.strict_tools or choice.must_call or options.max_tool_calls is not None
    )
    constraint = options.constraint
    if holds_calls:
        constraint = _held_calls(definitions, choice, options, tokenizer)
    parser = OutputParser(
        definitions,
        in_reasoning=prompt.in_reasoning,
        continues=bool(continue_final_message),
        is_constrained=constraint is not None and not holds_calls,
    )
    return PreparedAnswer(
        prompt_tokens(prompt.text, tokenizer, known(prompt.text)),
        _guide(tokenizer, prompt, constraint, options.think_budget),
        parser,
        tuple(constraint.notes) if constraint else (),
    )


def _held_calls(
    tools: Sequence[Mapping[str, Any]], choice: ToolChoice, options: ChatOptions, tokenizer: Tokenizer
) -> Constraint:
    """What holds calls to the tools' schemas, and an answer without calls to the constraint, if any."""
    from ..constraint import tool_call_constraint

    return tool_call_constraint(
        choice.callable_tools(tools),
        tokenizer,
        must_call=choice.must_call,
        max_calls=1 if choice.name else options.max_tool_calls,
        otherwise=options.constraint,
    )


def _guide(
    tokenizer: Tokenizer, prompt: RenderedPrompt, constraint: Constraint | None, think_budget: int | None
) -> Guide | None:
    """What holds an answer to a constraint and its thinking to a budget, if anything."""
    if constraint is None and think_budget is None:
        return None
    from .thinking_guides import AfterThinking, ThinkingBudget

    guide: Guide | None = None
    if constraint is not None:
        guide = AfterThinking(
            lambda: constraint.guide(tokenizer), tokenizer, prompt.in_reasoning, prompt.may_think
        )
    if think_budget is not None:
        guide = ThinkingBudget(
            think_budget, tokenizer, prompt.in_reasoning, guide, may_resume=constraint is None
        )
    return guide
