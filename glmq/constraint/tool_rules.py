"""The rules of one tool's calls, in Lark's syntax."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from glmq_kernels.errors import GlmqError

from ..tokenizer import Tokenizer
from .constraint import OPTIONS
from .error_messages import one_line
from .grammar_compilation import check_grammar, compiled_matcher
from .token_table import llguidance_tokenizer
from .tool_parameters import Parameters, parameters_of, resolved, types_of
from .tool_patterns import search

MAX_COUNTED = 64
"""Parameters of a tool: llguidance counts those that were given in one integer."""

JSON_OPTIONS = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?"}
"""The white space of templates' `tojson`, or none. Any would be a lexer of its own in llguidance."""

STRING_KEYWORDS = ("format", "not", "allOf", "if", "then", "else")
"""Keywords that strings are not held to: they stand in a call as they are, not as JSON."""


class CallTags:
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


class ToolRules:
    """Writes the rules of one tool. name: of its rule, what is between `<tool_call>` and `</tool_call>`.

    notes: what of its schema is not held. Raises GlmqError for a tool without a name, and when the time, as
    `time.monotonic` tells it, has come to `until`.
    """

    def __init__(self, number: int, function: Mapping[str, Any], tags: CallTags, until: float) -> None:
        self._tool, self._tags = str(function.get("name") or ""), tags
        if not self._tool:
            raise GlmqError("a tool has no name; give its function one")
        self.name = f"tool_{number}"
        self._parameters: Parameters = parameters_of(function.get("parameters"))
        self.notes = [f"the tool {self._tool}: {fault}" for fault in self._parameters.faults]
        if len(self._parameters.properties) > MAX_COUNTED:
            fault = f"of more than {MAX_COUNTED} parameters any may be left out or repeated"
            self.notes.append(f"the tool {self._tool}: {fault}")
        self._values: list[tuple[str, list[str]]] = []
        for i, key in enumerate(self._parameters.properties):
            if time.monotonic() > until:
                raise GlmqError(
                    f"the schema of the tool {self._tool} takes too long to prepare; make it simpler"
                )
            self._values.append(self._held_or_free(i, key))

    def rules(self) -> list[str]:
        """All rules of the tool."""
        properties, required = self._parameters.properties, self._parameters.required
        head = f'{self.name}: {json.dumps(self._tool)} "\\n"?'
        if not properties:
            return [head]
        inner = [rule for _, rules in self._values for rule in rules]
        arguments = [
            f'{self._tags["<arg_key>"]} {json.dumps(key)} {self._tags["</arg_key>"]} "\\n"?'
            f' {self._tags["<arg_value>"]} ({value}) "\\n"?'
            for key, (value, _) in zip(properties, self._values, strict=True)
        ]
        if len(properties) > MAX_COUNTED:
            return [f"{head} ({self.name}_argument)*", f"{self.name}_argument: {_choice(arguments)}", *inner]
        needed = [f"bit_set({i})" for i, key in enumerate(properties) if key in required]
        alternatives = ['""' + (f" %if {_all(needed)}" if needed else "")]
        for i, argument in enumerate(arguments):
            alternatives.append(f"{argument} {self.name}_arguments::set_bit({i}) %if bit_clear({i})")
        return [
            f"{head} {self.name}_arguments::0x0",
            f"{self.name}_arguments::_: {_choice(alternatives)}",
            *inner,
        ]

    def free_what_is_refused(self, tokenizer: Tokenizer) -> None:
        """Leave free what cannot be compiled for a vocabulary."""
        for i, (key, (value, rules)) in enumerate(
            zip(self._parameters.properties, self._values, strict=True)
        ):
            what = f"the tool {self._tool}, parameter {key}"
            try:
                compiled_matcher(_grammar(value, rules), what, llguidance_tokenizer(tokenizer))
            except GlmqError as error:
                self._values[i] = self._free(i, key, str(error).removeprefix(f"{what} is refused: "))

    def _held_or_free(self, number: int, key: str) -> tuple[str, list[str]]:
        """(what a value may be, an expression that ends with `</arg_value>`, the rules that it needs)."""
        writer = _ValueRules(f"{self.name}_value_{number}", self._tags, self._parameters.root)
        try:
            value = writer.value(self._parameters.properties[key])
            reason = _refusal(_grammar(value, writer.rules))
        except GlmqError as error:
            reason = str(error)
        except RecursionError:
            reason = "its schema refers to itself"
        if reason is not None:
            return self._free(number, key, reason)
        self.notes += [
            f"the tool {self._tool}, parameter {key}: {each} is not held" for each in writer.not_held
        ]
        return value, writer.rules

    def _free(self, number: int, key: str, reason: str) -> tuple[str, list[str]]:
        """A value of which only the type is held, and that only when it is never a string."""
        writer = _ValueRules(f"{self.name}_free_{number}", self._tags, self._parameters.root)
        types: list[str] = []
        with suppress(GlmqError, RecursionError):
            types = [*types_of(resolved(self._parameters.properties[key], self._parameters.root))]
        held = {"type": types} if types and "string" not in types else {}
        value = writer.value(held)
        if held and _refusal(_grammar(value, writer.rules)) is not None:
            held, value = {}, writer.value({})
        what = f"only its type is held ({', '.join(types)})" if held else "any text is allowed"
        self.notes.append(f"the tool {self._tool}, parameter {key}: {what}: {reason}")
        return value, writer.rules


class _ValueRules:
    """Writes the rules of one argument's value, which include `</arg_value>`."""

    def __init__(self, name: str, tags: CallTags, root: Mapping[str, Any]) -> None:
        self._name, self._tags, self._root = name, tags, root
        self.rules: list[str] = []
        self.not_held: list[str] = []

    def value(self, schema: Any) -> str:
        """What an argument of a schema may be, as an expression that ends with `</arg_value>`."""
        schema = resolved(schema, self._root)
        end = self._tags["</arg_value>"]
        if "const" in schema or "enum" in schema:
            values = [schema["const"]] if "const" in schema else schema["enum"]
            if not isinstance(values, Sequence) or isinstance(values, str) or not values:
                raise GlmqError("enum is no list of values")
            return " | ".join(f"{json.dumps(_written(value))} {end}" for value in values)
        for keyword in ("anyOf", "oneOf"):
            options = schema.get(keyword)
            if isinstance(options, Sequence) and options:
                rest = {key: value for key, value in schema.items() if key != keyword}
                return " | ".join(self.value({**rest, **resolved(each, self._root)}) for each in options)
        types = types_of(schema)
        if "string" in types:
            raw = self._string(schema)
            others = [each for each in types if each != "string"]
            if not others or raw == "TEXT":
                return self._up_to_end(raw)
            return f"{self._up_to_end(raw)} | {self._json(schema, others)} {end}"
        return f"{self._json(schema, types)} {end}"

    def _string(self, schema: Mapping[str, Any]) -> str:
        """The terminal's expression for a string as it is."""
        self.not_held += [each for each in STRING_KEYWORDS if each in schema and each not in self.not_held]
        conditions = []
        for keyword in ("minLength", "maxLength"):
            if type(schema.get(keyword, 0)) is not int or schema.get(keyword, 0) < 0:
                raise GlmqError(f"{keyword} is no number of characters")
        if "minLength" in schema or "maxLength" in schema:
            conditions.append(f"/(?s:.{{{schema.get('minLength', 0)},{schema.get('maxLength', '')}}})/")
        if "pattern" in schema:
            conditions.append(search(str(schema["pattern"])))
        if not conditions:
            return "TEXT"
        return " & ".join([*conditions, r"~/(?s:.*)<\/arg_value>(?s:.*)/", "TEXT"])

    def _up_to_end(self, text: str) -> str:
        rule = f"{self._name}_{len(self.rules)}"
        self.rules += self._tags.text_up_to(rule, text, "</arg_value>")
        return rule

    def _json(self, schema: Mapping[str, Any], types: Sequence[str]) -> str:
        kept = {key: self._root[key] for key in ("$defs", "definitions") if key in self._root}
        try:
            return "%json " + json.dumps({**kept, **schema, "type": list(types), "x-guidance": JSON_OPTIONS})
        except (TypeError, ValueError) as error:
            raise GlmqError(f"its schema is no JSON: {error}") from None


def _grammar(value: str, rules: Sequence[str]) -> str:
    """A grammar of one value alone."""
    return "\n".join([f"start: {value}", "TEXT: /(?s:.*)/", *rules, OPTIONS, ""])


@lru_cache(4096)
def _refusal(grammar: str) -> str | None:
    message = check_grammar(grammar, "its schema")
    return None if message is None else one_line(message)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _choice(alternatives: Sequence[str]) -> str:
    return "\n  | ".join(alternatives)


def _all(conditions: Sequence[str]) -> str:
    """Conditions of Lark's rules, all of which must hold."""
    first, *others = conditions
    return f"and({first}, {_all(others)})" if others else first
