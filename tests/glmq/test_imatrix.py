"""Importance matrices made of texts: saved as they go, gone on with, merged, told about."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from glmq_convert.importance import read_importance
from glmq_kernels.files.file_writing import FileExists

import glmq
from glmq.importance import ImportanceOptions, make_importance, making
from glmq.importance.observed_model import ObservedModel
from glmq.importance.texts import read_text

from .small_models import N_EXPERTS, SmallModel, write_glm4moe
from .test_command_line import ENVIRONMENT, run

CHUNK, N_CHUNKS = 32, 25
OPTIONS = ImportanceOptions(chunk_size=CHUNK)


def words(n_bytes, seed=0):
    return "".join(np.random.default_rng(seed).choice([*"abcdefghij ..,"], n_bytes))


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A text of a few chunks and a half, each byte of which is a token."""
    path = tmp_path_factory.mktemp("texts") / "some.txt"
    path.write_text(words(CHUNK * N_CHUNKS + CHUNK // 2))
    return path


@pytest.fixture(scope="module")
def whole(small_path, text, tmp_path_factory):
    """The file of a run that nothing interrupts."""
    out = tmp_path_factory.mktemp("whole") / "imatrix.gguf"
    make_importance(small_path, [text], out, OPTIONS)
    return out


def assert_same(found, expected):
    """The same texts and sums; what is gone on with is rounded to float32 in between."""
    assert (found.datasets, found.n_chunks, found.making) == (
        expected.datasets, expected.n_chunks, expected.making,
    )  # fmt: skip
    assert found.tensors.keys() == expected.tensors.keys()
    for name, sums in expected.tensors.items():
        np.testing.assert_array_equal(found.tensors[name].counts, sums.counts)
        np.testing.assert_allclose(found.tensors[name].sums, sums.sums, rtol=1e-6)


def test_all_whole_chunks_are_read(whole):
    made = read_importance(whole)
    assert (made.datasets, made.n_chunks, made.chunk_size) == (("some.txt",), N_CHUNKS, CHUNK)
    assert made.tensors["blk.0.attn_q.weight"].counts.tolist() == [CHUNK * N_CHUNKS]


@pytest.mark.parametrize("n_calls", (0, 1, 2))
def test_what_is_interrupted_is_gone_on_with(monkeypatch, small_path, text, whole, tmp_path, n_calls):
    out = tmp_path / "imatrix.gguf"
    read, calls = ObservedModel.read, []

    def interrupted(model, chunks):
        if len(calls) == n_calls:
            raise KeyboardInterrupt
        calls.append(len(chunks))
        read(model, chunks)

    with monkeypatch.context() as patch:
        patch.setattr(ObservedModel, "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_importance(small_path, [text], out, OPTIONS)
    if n_calls:
        assert read_importance(out).n_chunks == sum(calls)
    made = make_importance(small_path, [text], out, OPTIONS)
    assert_same(made, read_importance(whole))
    assert_same(read_importance(out), made)


def test_it_is_saved_every_ten_chunks(monkeypatch, small_path, text, tmp_path):
    saved = []
    monkeypatch.setattr(
        making, "write_importance", lambda importance, target: saved.append(importance.n_chunks)
    )
    init = ObservedModel.__init__

    def one_at_once(model, *arguments, **options):
        init(model, *arguments, **options)
        model.n_at_once = 1

    monkeypatch.setattr(ObservedModel, "__init__", one_at_once)
    make_importance(small_path, [text], tmp_path / "imatrix.gguf", OPTIONS)
    assert saved == [10, 20, N_CHUNKS]


def test_what_is_complete_is_not_made_again(monkeypatch, small_path, text, whole):
    monkeypatch.setattr(ObservedModel, "read", None)
    assert_same(make_importance(small_path, [text], whole, OPTIONS), read_importance(whole))


@pytest.mark.parametrize("changes", [{"n_chunks": 3}, {"process_output": True}, {"activations": "f32"}])
def test_another_importance_matrix_is_kept_unless_it_is_forced(small_path, text, whole, tmp_path, changes):
    out = tmp_path / "imatrix.gguf"
    out.write_bytes(whole.read_bytes())
    options = ImportanceOptions(chunk_size=CHUNK, **changes)
    with pytest.raises(FileExists, match="is an importance matrix of another model, text or setting"):
        make_importance(small_path, [text], out, options)
    assert out.read_bytes() == whole.read_bytes()
    make_importance(small_path, [text], out, options, force=True)
    assert read_importance(out).n_chunks == changes.get("n_chunks", N_CHUNKS)


def test_neither_model_nor_text_is_written_over(small_path, text):
    for source in (small_path, text):
        before = source.read_bytes()
        with pytest.raises(glmq.GlmqError, match="is a file of the source"):
            make_importance(small_path, [text], source, OPTIONS, force=True)
        assert source.read_bytes() == before


def test_several_texts_and_earlier_matrices_are_added(small_path, text, whole, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text(words(CHUNK * 3, seed=1))
    apart = make_importance(small_path, [other], tmp_path / "apart.gguf", OPTIONS)
    together = make_importance(small_path, [text, other], tmp_path / "together.gguf", OPTIONS)
    options = ImportanceOptions(chunk_size=CHUNK, earlier=[whole])
    merged = make_importance(small_path, [other], tmp_path / "merged.gguf", options)
    for made in (together, merged):
        assert (made.datasets, made.n_chunks) == (("some.txt", "other.txt"), N_CHUNKS + 3)
        for name, sums in read_importance(whole).tensors.items():
            expected = sums.sums + apart.tensors[name].sums
            np.testing.assert_allclose(made.tensors[name].sums, expected, rtol=1e-4)


def test_conversations_are_read_as_the_template_writes_them(glm_4_7, tmp_path):
    calls = [{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}]
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    talks = [
        {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "<|user|>"}]},
        {
            "messages": [
                {"role": "user", "content": "1 and 1?"},
                {"role": "assistant", "content": "", "tool_calls": calls},
            ],
            "tools": tools,
        },
    ]
    path, lines = tmp_path / "talks.json", tmp_path / "talks.jsonl"
    path.write_text(json.dumps(talks))
    requests = [talk | {"add_generation_prompt": True} for talk in talks]
    lines.write_text("\n".join(map(json.dumps, requests)) + "\n")
    found = read_text(path, glm_4_7)
    assert found.special
    assert found.content == read_text(lines, glm_4_7).content
    assert found.content.startswith("[gMASK]<sop>")
    assert "<|user|>Hello" in found.content and "<arg_key>a</arg_key>" in found.content


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "is not JSON"),
        ("[1]", "conversation 1 is no object with messages"),
        ('[{"messages": [{"role": "nobody"}]}]', "conversation 1: message 1 has no role"),
    ],
)
def test_files_that_hold_no_conversations_are_refused(glm_4_7, tmp_path, content, why):
    path = tmp_path / "talks.json"
    path.write_text(content)
    with pytest.raises(glmq.GlmqError, match=f"talks.json.*{why}"):
        read_text(path, glm_4_7)


def test_texts_are_read_before_the_model_is_loaded(small_path, tmp_path, monkeypatch):
    monkeypatch.setattr("glmq.importance.making.open_gguf", pytest.fail)
    with pytest.raises(glmq.GlmqError, match=r"missing\.txt"):
        make_importance(small_path, [tmp_path / "missing.txt"], tmp_path / "imatrix.gguf")


def test_a_text_must_fill_a_chunk(small_path, tmp_path):
    (tmp_path / "short.txt").write_text(words(40))
    options, out = ImportanceOptions(chunk_size=41), tmp_path / "imatrix.gguf"
    with pytest.raises(
        glmq.GlmqError, match=r"short.txt has [0-9]+ tokens, and a chunk 41; give a longer text"
    ):
        make_importance(small_path, [tmp_path / "short.txt"], out, options)
    assert not out.exists()


def add_prediction_layer(model: SmallModel) -> None:
    """What the trunk does without."""
    model.writer.add_uint32("glm4moe.nextn_predict_layers", 1)
    model.matrix("blk.3.nextn.eh_proj.weight", 256, 512)


def test_layers_that_do_not_run_are_told(text, tmp_path):
    path = write_glm4moe(tmp_path / "mtp.gguf", change=add_prediction_layer)
    told = []
    options = ImportanceOptions(chunk_size=CHUNK, n_chunks=1)
    made = make_importance(path, [text], tmp_path / "imatrix.gguf", options, remark=told.append)
    assert told == ["the layers of multi-token prediction (nextn) do not run, so nothing is known of them"]
    assert not [name for name in made.tensors if name.startswith("blk.3.")]


def test_the_command_tells_of_each_layer(small_path, text, tmp_path):
    out = tmp_path / "imatrix.gguf"
    command = ["imatrix", small_path, "-f", text, "-o", out, "--chunk-size", 32, "--chunks"]
    code, shown, errors = run(*map(str, [*command, 2]))
    assert code == 0, errors
    lines = shown.splitlines()
    assert lines[0].startswith(f"layer   1  {N_EXPERTS} of {N_EXPERTS} experts seen (100.0%); fewest tokens ")
    assert lines[-1] == f"{out}: 29 tensors, 2 chunks of 32 tokens, from some.txt"
    both = tmp_path / "both.gguf"
    _, shown, _ = run(*map(str, ["imatrix", "--in-file", out, "--in-file", out, "-o", both]))
    assert shown.splitlines()[-1] == f"{both}: 29 tensors, 4 chunks of 32 tokens, from some.txt"
    assert read_importance(both).making is None
    code, _, errors = run(*map(str, [*command, 3]))
    assert code == 2
    assert "or overwrite it with --force" in errors


@pytest.mark.slow
def test_killed_at_any_time_it_goes_on(small_path, tmp_path):
    """Twenty times; what is there is always whole."""
    text = tmp_path / "long.txt"
    text.write_text(words(64 * 400))
    expected = make_importance(small_path, [text], tmp_path / "whole.gguf", ImportanceOptions(chunk_size=64))
    out = tmp_path / "imatrix.gguf"
    command = [
        sys.executable,
        "-m",
        "glmq",
        "imatrix",
        small_path,
        "-f",
        text,
        "-o",
        out,
        "--chunk-size",
        "64",
    ]
    seen, rng = [], np.random.default_rng(0)
    for _ in range(20):
        process = subprocess.Popen(
            command, env=ENVIRONMENT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        time.sleep(0.6 + rng.random())
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        if out.exists():
            seen.append(read_importance(out).n_chunks)
    assert seen == sorted(seen)
    subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True)
    assert_same(read_importance(out), expected)
    assert [path.name for path in Path(tmp_path).iterdir() if "unfinished" in path.name] == []
