"""The chat formats of GLM-4.5 and 4.6 and of GLM-4.7, for GLM files that hold no template.

The two differ in line ends, in the marks of turns without thinking, and in that 4.7 can keep the thinking
of earlier turns (`clear_thinking` false). Texts are those the models were trained on, as their own templates
(https://huggingface.co/zai-org/GLM-4.6, zai-org/GLM-4.7) write them.
"""

from __future__ import annotations

import re

_SETTINGS_4_6 = r"""
{%- set line, no_thoughts, keeps, opening = '\n', '<think></think>', false, '' -%}
{%- set user_mark = '/nothink' -%}
"""

_SETTINGS_4_7 = r"""
{%- set line, no_thoughts, keeps, opening = '', '</think>', true, '<think>' -%}
{%- set user_mark = '' -%}
"""

_FORMAT = r"""
{%- macro text(content) -%}
  {%- if content is string or content is mapping or content is not iterable -%}
    {{- content -}}
  {%- else -%}
    {%- for part in content -%}
      {{- part if part is string else part.text if part.type == 'text' -}}
    {%- endfor -%}
  {%- endif -%}
{%- endmacro -%}

{%- macro argument(name, value) -%}
  {{- '<arg_key>' ~ name ~ '</arg_key>' ~ line -}}
  {{- '<arg_value>' ~ (value if value is string else value | tojson) ~ '</arg_value>' ~ line -}}
{%- endmacro -%}

{%- macro tool_call(call) -%}
  {{- line ~ '<tool_call>' ~ call.name ~ line -}}
  {%- for name, value in call.arguments.items() -%}{{- argument(name, value) -}}{%- endfor -%}
  {{- '</tool_call>' -}}
{%- endmacro -%}

{%- macro explain_tools() -%}
  {{- '<|system|>\n# Tools\n\n' -}}
  {{- 'You may call one or more functions to assist with the user query.\n\n' -}}
  {{- 'You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n' -}}
  {%- for tool in tools -%}{{- tool | tojson ~ '\n' -}}{%- endfor -%}
  {{- '</tools>\n\nFor each function call, output the function name and arguments within the ' -}}
  {{- 'following XML format:\n<tool_call>{function-name}' ~ line -}}
  {{- argument('{arg-key-1}', '{arg-value-1}') ~ argument('{arg-key-2}', '{arg-value-2}') -}}
  {{- '...' ~ line ~ '</tool_call>' -}}
{%- endmacro -%}

{%- macro answer(message, of_this_turn) -%}
  {%- set said, thoughts = text(message.content), message.reasoning_content -%}
  {%- if thoughts is not string -%}
    {%- set parts = said.split('</think>') -%}
    {%- set said = parts[-1] -%}
    {%- set thoughts = parts[0].split('<think>')[-1].strip('\n') if parts | length > 1 else '' -%}
  {%- endif -%}
  {{- '<|assistant|>' ~ line -}}
  {%- if thoughts and (of_this_turn or keeps and clear_thinking is defined and not clear_thinking) -%}
    {{- '<think>' ~ thoughts.strip() ~ '</think>' -}}
  {%- else -%}
    {{- no_thoughts -}}
  {%- endif -%}
  {{- line ~ said.strip() if said.strip() -}}
  {%- for call in message.tool_calls or [] -%}{{- tool_call(call.function or call) -}}{%- endfor -%}
{%- endmacro -%}

{%- set silent = enable_thinking is defined and not enable_thinking -%}
{%- set turn = namespace(begin=-1) -%}
{%- for message in messages -%}
  {%- if message.role == 'user' -%}{%- set turn.begin = loop.index0 -%}{%- endif -%}
{%- endfor -%}

{{- '[gMASK]<sop>' -}}
{{- explain_tools() if tools -}}
{%- for message in messages -%}
  {%- if message.role == 'system' -%}
    {{- '<|system|>' ~ line ~ text(message.content) -}}
  {%- elif message.role == 'user' -%}
    {%- set said = text(message.content) -%}
    {{- '<|user|>' ~ line ~ said ~ (user_mark if silent and not said.endswith(user_mark)) -}}
  {%- elif message.role == 'assistant' -%}
    {{- answer(message, loop.index0 > turn.begin) -}}
  {%- elif message.role == 'tool' -%}
    {{- '<|observation|>' if loop.first or loop.previtem.role != 'tool' -}}
    {{- line ~ '<tool_response>' ~ line ~ text(message.content) ~ line ~ '</tool_response>' -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|assistant|>' ~ (line ~ no_thoughts if silent else opening) -}}
{%- endif -%}
"""

GLM_4_6_TEMPLATE = _SETTINGS_4_6 + _FORMAT
GLM_4_7_TEMPLATE = _SETTINGS_4_7 + _FORMAT


def glm_template(name: str) -> str:
    """The format of the GLM model of this name, such as "GLM-4.7 Q4_K_M"; 4.6's where it tells no version."""
    version = re.search(r"glm[ _-]*(\d)(?:[._](\d))?(?![\db])", name, re.IGNORECASE)
    newer = version is not None and (int(version[1]), int(version[2] or 0)) >= (4, 7)
    return GLM_4_7_TEMPLATE if newer else GLM_4_6_TEMPLATE
