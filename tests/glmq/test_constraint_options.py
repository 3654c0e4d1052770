"""The constraints of the command line."""

from __future__ import annotations

import json

import jsonschema
import pytest

from .test_command_line import refused, run

SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
SCHEMA["additionalProperties"] = False


def generated(small_path, *arguments):
    code, out, err = run("generate", small_path, "-p", "x", "--temp", 2, "--seed", 1, *arguments)
    assert (code, err) == (0, "")
    return out


def test_a_json_schema_in_a_file_or_inline(small_path, tmp_path):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    out = generated(small_path, "--json-schema", path)
    jsonschema.validate(json.loads(out), SCHEMA)
    assert generated(small_path, "--json-schema", json.dumps(SCHEMA)) == out


@pytest.mark.parametrize("grammar", ['start: "yes" | "no"', 'root ::= "yes" | "no"'])
def test_a_grammar(small_path, tmp_path, grammar):
    (tmp_path / "grammar").write_text(grammar)
    assert generated(small_path, "--grammar", tmp_path / "grammar") in ("yes\n", "no\n")


def test_a_regular_expression_and_the_reason_to_finish(small_path):
    report = json.loads(generated(small_path, "--regex", "ab{3}", "--json"))
    assert (report["text"], report["finish_reason"]) == ("abbb", "stop")
    report = json.loads(generated(small_path, "--regex", "ab{3}", "--json", "-n", 2))
    assert report["finish_reason"] == "length"


def test_refusals_come_before_the_model_is_opened(tmp_path):
    for arguments, message in (
        (("--regex", "a", "--json-schema", "{}"), "one way"),
        (("--regex", "("), "unclosed group"),
        (("--json-schema", '{"type": 1}'), "the JSON schema is refused"),
        (("--json-schema", tmp_path / "none.json"), "none.json cannot be read: No such file"),
        (("--grammar", tmp_path), "is not a file"),
    ):
        assert message in refused("generate", "no-such-model.gguf", "-p", "x", *arguments)
    (tmp_path / "schema.json").write_text('{"properties": {"a": {"type": "nope"}}}')
    (tmp_path / "a.gbnf").write_text('root ::= "a"\n  b ::= c')
    for option, name, message in (
        ("--json-schema", "schema.json", "the JSON schema is refused, at /properties/a: Invalid type: nope"),
        ("--grammar", "a.gbnf", "the GBNF grammar is refused, line 2, column 9: there is no rule c"),
    ):
        told = refused("generate", "no-such-model.gguf", "-p", "x", option, tmp_path / name)
        assert f"{tmp_path / name}: {message}" in told
    (tmp_path / "latin1").write_bytes(b'start: "\xe4"')
    assert "UTF-8" in refused("generate", "none.gguf", "-p", "x", "--grammar", tmp_path / "latin1")
