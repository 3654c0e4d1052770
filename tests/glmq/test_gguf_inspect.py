from __future__ import annotations

import json
import struct
import sys

import pytest
from click.testing import CliRunner

from glmq.cli.inspect import inspect
from glmq.gguf import GGUFError

from .gguf_files import FLOAT32, STRING, gguf_bytes, key, string, tensor, write_small_model, write_split_model


def output(*arguments: str) -> str:
    result = CliRunner().invoke(inspect, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.gguf"
    write_small_model(path)
    return path


def cells(text: str, first: str) -> list[str]:
    """The cells of the line whose first cell is `first`."""
    [line] = [line for line in text.splitlines() if line.split("  ")[0] == first]
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_the_table_names_every_key_with_type_and_value(small):
    text = output(small)
    assert cells(text, "general.architecture") == ["general.architecture", "string", "llama"]
    assert cells(text, "small.float32") == ["small.float32", "float32", "0.1"]
    assert cells(text, "small.bool") == ["small.bool", "bool", "true"]
    assert cells(text, "small.integers")[1:] == ["array of int32", "3: [1, -2, 3]"]
    assert "5: ['<s>', 'a', '\u0120world', '', 'é']" in text


def test_the_table_names_every_tensor(small):
    text = output(small)
    assert cells(text, "token_embd.weight") == ["token_embd.weight", "F32", "5 x 64", "1.2 KiB"]
    assert cells(text, "output.weight") == ["output.weight", "Q8_0", "5 x 64", "340 B"]
    assert cells(text, "tensors")[1].startswith("5, ")


def test_long_values_are_cut_and_measured(tmp_path):
    path = tmp_path / "long.gguf"
    path.write_bytes(gguf_bytes([key("tokenizer.chat_template", STRING, string("x" * 5000))]))
    text = output(path)
    assert "x" * 80 + "… (5,000 characters)" in text
    assert "x" * 81 not in text


def test_values_cannot_steer_the_terminal(tmp_path):
    path = tmp_path / "rude.gguf"
    keys = [key("\x1b[31mkey", STRING, string("\x1b[2J\r\nboo"))]
    path.write_bytes(gguf_bytes(keys, [tensor("\x1b[1m")], bytes(16)))
    text = output(path)
    assert "\x1b" not in text
    assert "\\x1b[2J\\r\\nboo" in text


def test_json_holds_everything(small):
    report = json.loads(output(small, "--json"))
    assert report["metadata"]["small.uint64"] == 1 << 63
    assert report["metadata"]["small.float32"] == 0.1
    assert report["metadata"]["small.integers"] == [1, -2, 3]
    assert report["metadata"]["small.bools"] == [True, False, True]
    assert report["metadata"]["tokenizer.ggml.tokens"] == ["<s>", "a", "\u0120world", "", "é"]
    assert report["metadata_types"]["small.integers"] == "array of int32"
    assert report["files"] == [str(small)]
    [embedding] = [each for each in report["tensors"] if each["name"] == "token_embd.weight"]
    assert embedding["shape"] == [5, 64]
    assert embedding["type"] == "F32"
    assert embedding["n_bytes"] == 1280
    assert report["n_bytes"] == sum(each["n_bytes"] for each in report["tensors"])


def test_json_has_null_for_numbers_that_json_lacks(tmp_path):
    path = tmp_path / "nan.gguf"
    path.write_bytes(gguf_bytes([key("k", FLOAT32, struct.pack("<f", float("nan")))]))
    assert json.loads(output(path, "--json"))["metadata"] == {"k": None}


def test_split_models_are_shown_as_one(tmp_path):
    paths = write_split_model(tmp_path)
    assert cells(output(paths[1]), "file") == ["file", "model-00001-of-00003.gguf and 2 more parts"]
    report = json.loads(output(paths[1], "--json"))
    assert [each["file"] for each in report["tensors"]] == [0, 1, 2]


def test_a_terminal_gets_drawn_tables(small, monkeypatch, capsys):
    pytest.importorskip("rich")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    inspect.callback(small, False)
    text = capsys.readouterr().out
    assert "token_embd.weight" in text
    assert "│" in text


def test_what_is_not_gguf_is_an_error_for_the_user(tmp_path):
    result = CliRunner().invoke(inspect, [str(tmp_path / "none.gguf")])
    assert isinstance(result.exception, GGUFError)
