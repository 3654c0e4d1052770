"""Tool calls held to the tools' schemas: a grammar for whole answers, free outside of calls.

A call is `<tool_call>name`, then `<arg_key>key</arg_key><arg_value>value</arg_value>` for each argument, then
`</tool_call>`; GLM-4.5 and 4.6 put a line break after the name and between the tags, 4.7 does not. Strings
stand there as they are, every other value as JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from glmq_kernels.errors import UserError

from ..tokenizer import Tokenizer
from .constraint import OPTIONS, Constraint

MAX_ARGUMENTS = 64
"""Parameters of a tool: llguidance counts those that were given in one integer."""

JSON_OPTIONS = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?"}
"""The white space of templates' `tojson`, or none. Any would be a lexer of its own in llguidance."""

TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")


def tool_call_constraint(tools: Iterable[Mapping[str, Any]], tokenizer: Tokenizer) -> Constraint:
    """Free text in which every tool call names one of the tools, with arguments that fit its schema.

    tools: OpenAI's definitions, `{"type": "function", "function": {...}}` or the function objects alone.
    Arguments come in any order, each at most once, the required ones always. Of the keywords for
    strings, enum, const, pattern, minLength and maxLength hold. Reasoning is to be kept apart
    (`chat.thinking_guides`). Raises UserError when a schema cannot be followed.
    """
    functions = [tool.get("function", tool) for tool in tools]
    if not functions:
        raise UserError("there are no tools whose calls could be constrained")
    tags = _Tags(tokenizer)
    rules = [
        "start: call* TEXT",
        "TEXT: /(?s:.*)/",
        f"call: call_begin ({' | '.join(f'tool_{i}' for i in range(len(functions)))}) {tags['</tool_call>']}",
        *tags.text_up_to("call_begin", "TEXT", "<tool_call>"),
    ]
    for i, function in enumerate(functions):
        try:
            rules += _Tool(i, function, tags).rules()
        except RecursionError:
            raise UserError(f"the schema of the tool {function.get('name')} refers to itself") from None
    constraint = Constraint("\n".join([*rules, OPTIONS, ""]), "the tools' schema")
    constraint.guide(tokenizer)
    return constraint


class _Tags:
    """The tags of a call in Lark: text, or the id of a token that is special in this vocabulary."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __getitem__(self, tag: str) -> str:
        token = self._tokenizer.token_id(tag)
        return f"<[{token}]>" if token in self._tokenizer.special_ids else json.dumps(tag)

    def text_up_to(self, rule: str, text: str, tag: str) -> list[str]:
        """Rules for `text`, a terminal's expression, that ends with the first `tag`, which belongs to it."""
        if self[tag].startswith("<["):
            return [f"{rule}: {rule.upper()} {self[tag]}", f"{rule.upper()}: {text}"]
        return [f"{rule}[lazy]: {rule.upper()}", f"{rule.upper()}: ({text}) {self[tag]}"]


class _Tool:
    """Writes the rules of one tool. Values of arguments are rules that include `</arg_value>`."""

    def __init__(self, number: int, function: Mapping[str, Any], tags: _Tags) -> None:
        self._name, self._tags = str(function.get("name", "")), tags
        self._rule = f"tool_{number}"
        self._root: Mapping[str, Any] = function.get("parameters") or {}
        self._rules: list[str] = []
        self._n_values = 0

    def rules(self) -> list[str]:
        """The rule `tool_<number>`, what is between `<tool_call>` and `</tool_call>`, and those it needs."""
        properties = self._root.get("properties") or {}
        required = self._root.get("required") or []
        if not self._name:
            raise UserError("a tool has no name; give its function one")
        if len(properties) > MAX_ARGUMENTS:
            raise UserError(
                f"the tool {self._name} has {len(properties)} parameters;"
                f" a constraint can have at most {MAX_ARGUMENTS}"
            )
        if unknown := [key for key in required if key not in properties]:
            raise UserError(f"the tool {self._name} requires {unknown[0]}, which is none of its properties")
        head = f'{self._rule}: {json.dumps(self._name)} "\\n"?'
        if not properties:
            return [head]
        self._rules.append(f"{head} {self._rule}_arguments::0x0")
        needed = [f"bit_set({i})" for i, key in enumerate(properties) if key in required]
        alternatives = ['""' + (f" %if {_all(needed)}" if needed else "")]
        for i, (key, schema) in enumerate(properties.items()):
            alternatives.append(
                f'{self._tags["<arg_key>"]} {json.dumps(key)} {self._tags["</arg_key>"]} "\\n"?'
                f' {self._tags["<arg_value>"]} ({self._value(schema)}) "\\n"?'
                f" {self._rule}_arguments::set_bit({i}) %if bit_clear({i})"
            )
        self._rules.append(f"{self._rule}_arguments::_: " + "\n  | ".join(alternatives))
        return self._rules

    def _value(self, schema: Any) -> str:
        """What an argument of a schema may be, as an expression that ends with `</arg_value>`."""
        schema = self._resolved(schema)
        end = self._tags["</arg_value>"]
        if "const" in schema or "enum" in schema:
            values = [schema["const"]] if "const" in schema else schema["enum"]
            return " | ".join(f"{json.dumps(_written(value))} {end}" for value in values)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                rest = {key: value for key, value in schema.items() if key != keyword}
                return " | ".join(self._value({**rest, **self._resolved(each)}) for each in schema[keyword])
        types = _types(schema)
        if "string" in types:
            raw = self._string(schema)
            others = [each for each in types if each != "string"]
            if not others or raw == "TEXT":
                return self._up_to_end(raw)
            return f"{self._up_to_end(raw)} | {self._json(schema, others)} {end}"
        return f"{self._json(schema, types)} {end}"

    def _resolved(self, schema: Any) -> dict[str, Any]:
        """A schema without `$ref` to another part of the tool's, and without an `allOf` of a single one."""
        found = dict(schema) if isinstance(schema, Mapping) else {}
        for _ in range(MAX_ARGUMENTS):
            reference = found.pop("$ref", None)
            if reference is None:
                break
            target: Any = self._root
            for part in str(reference).removeprefix("#").split("/")[1:]:
                target = target.get(part) if isinstance(target, Mapping) else None
            if not isinstance(target, Mapping) or not str(reference).startswith("#/"):
                raise UserError(
                    f"the tool {self._name} refers to {reference}, which its schema does not have"
                )
            found = {**target, **found}
        parts = found.get("allOf")
        if isinstance(parts, Sequence) and len(parts) == 1:
            del found["allOf"]
            return self._resolved({**found, **parts[0]})
        return found

    def _string(self, schema: Mapping[str, Any]) -> str:
        """The terminal's expression for a string as it is."""
        conditions = []
        if "minLength" in schema or "maxLength" in schema:
            conditions.append(f"/(?s:.{{{schema.get('minLength', 0)},{schema.get('maxLength', '')}}})/")
        if "pattern" in schema:
            conditions.append(_search(str(schema["pattern"])))
        if not conditions:
            return "TEXT"
        return " & ".join([*conditions, r"~/(?s:.*)<\/arg_value>(?s:.*)/", "TEXT"])

    def _up_to_end(self, text: str) -> str:
        rule = f"{self._rule}_value_{self._n_values}"
        self._n_values += 1
        self._rules += self._tags.text_up_to(rule, text, "</arg_value>")
        return rule

    def _json(self, schema: Mapping[str, Any], types: Sequence[str]) -> str:
        kept = {key: self._root[key] for key in ("$defs", "definitions") if key in self._root}
        return "%json " + json.dumps({**kept, **schema, "type": list(types), "x-guidance": JSON_OPTIONS})


def _types(schema: Mapping[str, Any]) -> Sequence[str]:
    """The types that a schema allows; all of them when it says nothing."""
    named = schema.get("type")
    if named is None and "properties" in schema:
        return ("object",)
    if named is None and "items" in schema:
        return ("array",)
    return TYPES if named is None else [named] if isinstance(named, str) else list(named)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _all(conditions: Sequence[str]) -> str:
    """Conditions of Lark's rules, all of which must hold."""
    first, *others = conditions
    return f"and({first}, {_all(others)})" if others else first


def _search(pattern: str) -> str:
    """A regular expression that matches where JSON schema's `pattern` finds something."""
    from llguidance import regex_to_lark

    before = after = "(?s:.*)"
    if not _has_choice(pattern):
        if pattern.startswith("^"):
            before, pattern = "", pattern[1:]
        if re.search(r"(?<!\\)(\\\\)*\$$", pattern):
            after, pattern = "", pattern[:-1]
    return f"/{before}(?:{regex_to_lark(pattern, 'dw')}){after}/"


def _has_choice(pattern: str) -> bool:
    """Whether a regular expression has a `|` outside of all groups."""
    plain = re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", "", pattern)
    while plain != (outer := re.sub(r"\([^()]*\)", "", plain)):
        plain = outer
    return "|" in plain
