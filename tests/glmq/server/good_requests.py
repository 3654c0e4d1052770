"""For each path a request that is right, and has many fields."""

from __future__ import annotations

MESSAGES = [{"role": "user", "content": "Hi"}]
FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}
SCHEMA = {"name": "s", "schema": {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}}}

BODIES = {
    "/v1/chat/completions": {
        "model": "m",
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "t"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "r"},
        ],
        "max_tokens": 1,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "seed": 1,
        "n": 1,
        "stop": ["x"],
        "stream": False,
        "stream_options": {"include_usage": True},
        "logprobs": True,
        "top_logprobs": 1,
        "logit_bias": {"5": 1},
        "presence_penalty": 0.1,
        "frequency_penalty": 0.1,
        "tools": [{"type": "function", "function": FUNCTION}],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning_effort": "low",
        "thinking": {"type": "disabled"},
        "thinking_budget_tokens": 1,
        "chat_template_kwargs": {"enable_thinking": False},
        "continue_final_message": False,
    },
    "/v1/completions": {
        "model": "m",
        "prompt": "p",
        "max_tokens": 1,
        "echo": True,
        "logprobs": 1,
        "n": 1,
        "stop": "x",
        "stream": False,
        "response_format": {"type": "json_schema", "json_schema": SCHEMA},
    },
    "/v1/responses": {
        "model": "m",
        "instructions": "i",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "t"}]},
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "t"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "r"},
        ],
        "tools": [{"type": "function", **FUNCTION}, {"type": "namespace", "name": "n", "tools": []}],
        "tool_choice": {"type": "function", "name": "f"},
        "max_output_tokens": 1,
        "reasoning": {"effort": "none"},
        "text": {"format": {"type": "text"}},
        "store": False,
        "metadata": {},
        "parallel_tool_calls": True,
    },
    "/v1/messages": {
        "model": "m",
        "max_tokens": 1,
        "system": [{"type": "text", "text": "s"}],
        "messages": [
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "t", "signature": ""},
                    {"type": "tool_use", "id": "c", "name": "f", "input": {}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r"}]},
        ],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}}],
        "tool_choice": {"type": "auto"},
        "stop_sequences": ["x"],
        "temperature": 0.5,
        "thinking": {"type": "enabled", "budget_tokens": 1},
        "output_config": {"effort": "low"},
    },
    "/tokenize": {"content": "c", "add_special": True, "parse_special": True, "with_pieces": False},
    "/detokenize": {"tokens": [1, 2]},
    "/apply-template": {"messages": MESSAGES},
    "/infill": {"input_prefix": "a", "input_suffix": "b", "n_predict": 1, "input_extra": [{"text": "t"}]},
    "/api/chat": {
        "model": "m",
        "messages": MESSAGES,
        "stream": False,
        "think": False,
        "options": {"num_predict": 1, "temperature": 0.1, "stop": ["x"]},
        "format": {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}},
    },
}
