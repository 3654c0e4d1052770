"""From a request to answers that are ready to be generated: prompts, grammars and sampling."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..chat.answer_limits import recommended_limits
from ..chat.messages import reasoning_of
from ..chat.prompt import prompt_tokens
from ..chat.prompt_messages import OWN_ARGUMENTS, rendered_prompt
from ..chat.quoted_tokens import unquoted
from ..chat.thinking import thinking_format
from ..chat.tool_choice import tool_choice_of
from ..chat.tool_definitions import check_tools
from ..constraint import Constraint, grammar_constraint, json_schema_constraint, regex_constraint
from ..sampling.recommendations import recommended
from .answering import ChatAnswer, Completion
from .api_error import BadRequest, context_too_long
from .earlier_calls import readable_calls
from .infill import InfillText
from .requests import ChatRequest, CompletionRequest, Form, Limits, Prompt
from .settings import MAX_GRAMMAR, MAX_TOOL_DEFINITIONS

if TYPE_CHECKING:
    from ..chat.answer import Answer
    from ..generation import Generation
    from ..model import Model
    from ..sampling import Sampling
    from ..session import Session


def prepare_chat(model: Model, request: ChatRequest) -> list[ChatAnswer]:
    """The answers to a conversation. Raises ApiError, GlmqError."""
    recommendation = recommended_limits(model.file.metadata)
    max_tokens = request.limits.max_tokens or recommendation.max_tokens
    constraint = None if request.form is None else constraint_of(request.form)
    arguments, messages = chat_arguments(model, request), readable_calls(request.messages)

    def new_answer(choice: int, progress: Callable[[int, int], None]) -> Answer:
        return model.chat(
            messages,
            think_budget=request.thinking.budget,
            constraint=constraint,
            strict_tools=bool(arguments["tools"]),
            max_tool_calls=request.max_tool_calls if arguments["tools"] else None,
            sampling=_sampling(model, request.sampling, request.limits, choice),
            max_tokens=max_tokens,
            stop=request.limits.stop,
            logprobs=request.limits.logprobs,
            progress=progress,
            **arguments,
        )

    answers = []
    for choice in range(request.limits.n):
        answers.append(
            ChatAnswer(
                choice,
                lambda progress, choice=choice: new_answer(choice, progress),  # type: ignore[misc]
                model,
                end_loops=recommendation.end_loops,
            )
        )
        _require_room(model, answers[0].n_prompt)
    return answers


def chat_arguments(model: Model, request: ChatRequest) -> dict[str, Any]:
    """What decides the prompt beside the messages, as `Model.chat` takes it."""
    template_arguments = dict(request.template_arguments)
    for name in OWN_ARGUMENTS:
        if name in template_arguments:
            raise BadRequest(f"chat_template_kwargs holds {name}, which is a field of the request")
    if request.thinking.enabled is not None:
        template_arguments["enable_thinking"] = request.thinking.enabled
    if not isinstance(template_arguments.get("enable_thinking"), (bool, type(None))):
        raise BadRequest("enable_thinking must be true or false", "chat_template_kwargs")
    if request.tools and len(json.dumps(request.tools)) > MAX_TOOL_DEFINITIONS:
        raise BadRequest(f"the tools are larger than {MAX_TOOL_DEFINITIONS} characters", "tools")
    keeps = request.thinking.keep
    if keeps is None:
        keeps = any(isinstance(each, Mapping) and reasoning_of(each) for each in request.messages)
    return {
        "tools": list(request.tools),
        "tool_choice": request.tool_choice if request.tools else "auto",
        "preserve_thinking": keeps and thinking_format(model.chat_template).can_preserve,
        "continue_final_message": request.continue_final_message,
        "template_arguments": template_arguments,
    }


def prepare_completions(model: Model, request: CompletionRequest) -> list[Completion]:
    """The continuations of texts, `n` of each. Raises ApiError, GlmqError."""
    constraint = None if request.form is None else constraint_of(request.form)
    generates = request.limits.max_tokens != 0
    answers: list[Completion] = []
    for prompt in request.prompts:
        tokens = _tokens(model, prompt)
        _require_room(model, len(tokens) - (not generates))
        for number in range(request.limits.n):
            answers.append(
                Completion(
                    len(answers),
                    _new_generation(model, request, tokens, number, constraint),
                    model,
                    tokens,
                    echo=request.echo,
                    n_logprobs=request.limits.logprobs,
                    generates=generates,
                )
            )
    return answers


def _new_generation(
    model: Model, request: CompletionRequest, tokens: list[int], number: int, constraint: Constraint | None
) -> Callable[[Callable[[int, int], None], Session | None], Generation]:
    def new(progress: Callable[[int, int], None], session: Session | None) -> Generation:
        return model.generate(
            tokens,
            sampling=_sampling(model, request.sampling, request.limits, number),
            max_tokens=request.limits.max_tokens,
            stop=request.limits.stop,
            constraint=constraint,
            logprobs=request.limits.logprobs,
            progress=progress,
            session=session,
        )

    return new


def constraint_of(form: Form) -> Constraint:
    """The constraint of what an answer is held to. Raises ApiError, GlmqError."""
    size = len(form.value) if isinstance(form.value, str) else len(json.dumps(form.value))
    if size > MAX_GRAMMAR:
        raise BadRequest(f"the grammar or schema is larger than {MAX_GRAMMAR} characters")
    if form.kind == "json_schema":
        return json_schema_constraint(form.value)
    return grammar_constraint(form.value) if form.kind == "grammar" else regex_constraint(form.value)


def _tokens(model: Model, prompt: Prompt) -> list[int]:
    if isinstance(prompt, InfillText):
        return prompt.tokens(model.tokenizer)
    if isinstance(prompt, str):
        tokens = model.tokenizer.encode(prompt, add_bos=model.tokenizer.add_bos)
        bos = model.tokenizer.bos_id
        tokens = tokens or ([] if bos is None else [bos])
    else:
        tokens = list(prompt)
        if any(not 0 <= token < model.n_vocab for token in tokens):
            raise BadRequest(f"token ids must lie between 0 and {model.n_vocab - 1}", "prompt")
    if not tokens:
        raise BadRequest("the prompt is empty", "prompt")
    return tokens


def _require_room(model: Model, n_prompt: int) -> None:
    if n_prompt >= model.n_ctx:
        raise context_too_long(n_prompt, model.n_ctx)


def _sampling(model: Model, given: Mapping[str, Any], limits: Limits, number: int) -> Sampling:
    """The sampling of the answer of a number: with a seed, each has its own."""
    for token in given.get("logit_bias", {}):
        if token >= model.n_vocab:
            raise BadRequest(f"logit_bias names token {token}; there are {model.n_vocab}", "logit_bias")
    sampling = replace(recommended(model.file.metadata), **given)
    if limits.ignore_eos:
        forbidden = dict.fromkeys(model.tokenizer.eog_ids, -math.inf)
        sampling = replace(sampling, logit_bias={**sampling.logit_bias, **forbidden})
    return sampling if sampling.seed is None else replace(sampling, seed=sampling.seed + number)


def count_prompt(model: Model, request: ChatRequest) -> int:
    """Tokens of a conversation's prompt. Raises ApiError, GlmqError."""
    return len(prompt_tokens(_rendered(model, request), model.tokenizer, ()))


def prompt_text(model: Model, request: ChatRequest) -> str:
    """The text of a conversation's prompt. Raises ApiError, GlmqError."""
    return unquoted(_rendered(model, request))


def _rendered(model: Model, request: ChatRequest) -> str:
    arguments = chat_arguments(model, request)
    tools = check_tools(arguments.pop("tools"))
    if tool_choice_of(arguments.pop("tool_choice"), tools).offers_none:
        tools = []
    preserve = arguments.pop("preserve_thinking")
    messages = readable_calls(request.messages)
    return rendered_prompt(
        model.chat_template, model.tokenizer, messages, tools, preserve=preserve, **arguments
    ).text
