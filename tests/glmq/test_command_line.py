"""The command line without a terminal: what goes to which stream, exit codes, errors in one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from glmq_kernels.machine.cores import core_count

import glmq
from glmq.cli import COMMANDS

from .small_models import write_glm4moe
from .vocabulary_files import write_byte_pairs

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in (".", "kernels", "convert")),
    "PYTHONIOENCODING": "utf-8",
}


def run(*arguments, stdin=None, **environment):
    """(exit code, standard output, standard error) of a glmq process."""
    done = subprocess.run(
        [sys.executable, "-m", "glmq", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        env=ENVIRONMENT | environment,
        timeout=300,
        encoding="utf-8",
        errors="surrogateescape",
        stdin=None if stdin is not None else subprocess.DEVNULL,
    )
    return done.returncode, done.stdout, done.stderr


def refused(*arguments, **more):
    """The one line that a refusal prints."""
    code, out, err = run(*arguments, **more)
    assert code == 2, (code, out, err)
    assert out == ""
    [line] = err.splitlines()
    assert line.startswith("glmq: error: ")
    return line


def test_generate_prints_the_text_and_nothing_else(small_path):
    code, out, err = run("generate", small_path, "-p", "Hello", "-n", 8, "--temp", 0)
    assert (code, err) == (0, "")
    with glmq.load(small_path) as model:
        generation = model.generate("Hello", sampling=glmq.Sampling(temperature=0), max_tokens=8)
        assert out == generation.run() + "\n"


def test_the_three_ways_to_give_a_text(small_path, tmp_path):
    (tmp_path / "text").write_text("Grüße")
    rest = ("-n", 5, "--temp", 0)
    direct = run("generate", small_path, "-p", "Grüße", *rest)
    assert run("generate", small_path, "-f", tmp_path / "text", *rest) == direct
    assert run("generate", small_path, "-", *rest, stdin="Grüße") == direct
    assert run("generate", small_path, "-f", "-", *rest, stdin="Grüße") == direct


def test_json_is_one_object(small_path):
    code, out, _ = run("generate", small_path, "-p", "Hi", "-n", 4, "--seed", 1, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["prompt_tokens"] == [72, 105]
    assert len(report["tokens"]) == 4
    assert report["finish_reason"] == "length"
    assert report["timings"]["n_generated"] == 4
    assert report["timings"]["decode_per_second"] > 0


def test_a_seed_repeats(small_path):
    arguments = ("generate", small_path, "-p", "Hi", "-n", 12, "--seed", 5)
    assert run(*arguments) == run(*arguments)


def test_tokenize_prints_ids_on_one_line(small_path, tmp_path):
    assert run("tokenize", small_path, "ab[gMASK]")[1] == "256 314\n"
    assert run("tokenize", small_path, "--no-special", "[gMASK]")[1].split()[0] == "91"
    write_byte_pairs(tmp_path / "vocabulary.gguf", ["a", "b", "ab"], ["a b"])
    assert run("tokenize", tmp_path / "vocabulary.gguf", "-f", "-", stdin="aba")[1] == "2 0\n"


def test_chat_answers_each_line_of_a_pipe(small_path):
    arguments = ("chat", small_path, "-n", 6, "--seed", 2, "--lines")
    code, out, err = run(*arguments, stdin="Hi\n\nAnd?\n")
    assert code == 0
    assert err.count("tokens/s") == 4
    assert err.count("[prompt") == 2
    quiet = run(*arguments, "--no-stats", stdin="Hi\n\nAnd?\n")
    assert quiet == (0, out, 2 * "Ended after 6 tokens, as max_tokens says.\n")


def test_chat_takes_slash_commands_from_a_pipe(small_path, tmp_path):
    lines = f"Hi\n/save {tmp_path / 'talk.json'}\n/quit\nnever read\n"
    arguments = ("chat", small_path, "-n", 3, "--seed", 2, "--system", "Be brief.", "--commands")
    code, _, _ = run(*arguments, stdin=lines)
    messages = json.loads((tmp_path / "talk.json").read_text())["messages"]
    assert code == 0
    assert [message["role"] for message in messages] == ["system", "user", "assistant"]


def test_inspect_and_help_and_version(small_path):
    assert "glm4moe" in run("inspect", small_path)[1]
    text = run("--help")[1]
    assert all(name in text for name in COMMANDS)
    assert run("--version")[1] == f"glmq, version {glmq.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_without_importing_much(command):
    code = (
        "import sys; sys.argv = ['glmq', sys.argv[1], '--help']\n"
        "from glmq.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numba', 'gguf', 'rich', 'prompt_toolkit', 'jinja2', 'tokenizers'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, command], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "--debug" in done.stdout


def test_a_bad_path_is_refused_in_one_line(tmp_path):
    assert "no-such.gguf" in refused("chat", tmp_path / "no-such.gguf")
    (tmp_path / "text.gguf").write_text("this is no model")
    assert "text.gguf" in refused("generate", tmp_path / "text.gguf", "-p", "x")


@pytest.mark.parametrize(
    ("arguments", "told"),
    (
        (("--dance",), "(glmq --help shows what there is)"),
        (("dance",), "no such command 'dance' (glmq --help"),
        (("chat", "--dance"), "(glmq chat --help"),
        (("chat", "a.gguf", "why", "how"), "(how) (glmq chat --help"),
        (("chat", "--temp", "hot"), "'--temp': 'hot' is not"),
        (("generate",), "missing argument 'MODEL'"),
        (("bench", "-r", 0), "'--repetitions': 0 is not"),
    ),
)
def test_a_command_line_that_is_wrong_is_refused_in_one_line(arguments, told):
    assert told in refused(*arguments).replace("python -m glmq", "glmq")


def test_errors_name_options_that_the_command_has(small_path):
    assert refused("generate", small_path, "-p", "Hi", "--ctx", 10**6).endswith("choose at most that (--ctx)")
    assert refused("bench", small_path, "-p", 10**6, "-n", 0).endswith("choose at most that")


def test_debug_shows_the_traceback(tmp_path):
    code, _, err = run("inspect", tmp_path / "no-such.gguf", "--debug")
    assert code == 1
    assert "Traceback" in err


def test_settings_that_make_no_sense_are_refused(small_path):
    assert "top_p" in refused("generate", small_path, "-p", "x", "--top-p", 7)
    assert "one way" in refused("generate", small_path)
    assert "one way" in refused("generate", small_path, "-p", "x", "-")
    assert "--ctx" in refused("generate", small_path, "-p", "x", "--ctx", 10**6)
    assert "threads" in refused("generate", small_path, "-p", "x", "--threads", 0)


def test_a_context_overflow_says_what_to_do(small_path):
    assert "--ctx" in refused("generate", small_path, "-p", "x" * 50, "--ctx", 40)
    code, _, err = run("generate", small_path, "-p", "x" * 30, "--ctx", 40, "--seed", 1)
    assert code == 0
    assert "context" in err
    assert "--ctx" in refused("chat", small_path, "--ctx", 16, stdin="a message that is too long\n")


def test_a_model_that_does_not_fit_says_so(small_path, tmp_path):
    content = small_path.read_bytes()
    at = content.index(b"glm4moe.context_length") + len(b"glm4moe.context_length") + 4
    huge = content[:at] + (2**31).to_bytes(4, "little") + content[at + 4 :]
    (tmp_path / "huge.gguf").write_bytes(huge)
    assert "(--ctx)" in refused("generate", tmp_path / "huge.gguf", "-p", "x", "--ctx", 2**31 - 1)


def test_files_that_cannot_chat_are_refused(tmp_path):
    path = tmp_path / "vocabulary.gguf"
    write_byte_pairs(path, ["a"], [])
    assert "vocabulary.gguf" in refused("chat", path)


def test_ctrl_c_ends_quietly(small_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "glmq", "chat", small_path, "--ctx", "512"],
        env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_a_reader_that_goes_away_is_no_error_message(small_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "glmq", "generate", small_path, "-p", "x", "--temp", "2", "--seed", "1"],
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdout.close()
    err = process.stderr.read()
    process.wait(timeout=60)
    assert b"Traceback" not in err
    assert b"Exception ignored" not in err


def test_a_cold_cache_shows_that_kernels_are_compiled(tmp_path):
    path = write_glm4moe(tmp_path / "model.gguf", "Q8_0")
    code, _, err = run("generate", path, "-p", "x", "-n", 1, GLMQ_CACHE=str(tmp_path / "cache"))
    assert code == 0
    assert "compiling kernels (once)" in err
    assert run("generate", path, "-p", "x", "-n", 1, GLMQ_CACHE=str(tmp_path / "cache"))[2] == ""


def test_bench_prints_a_row_for_each_work_and_depth(small_path):
    code, out, err = run("bench", small_path, "-p", "16", "-n", "4", "-d", "0,32", "-r", "2", "-t", "1")
    assert code == 0, err
    header, *rows, peak = out.splitlines()
    assert header.split()[:3] == ["test", "threads", "tokens/s"]
    assert [row.split("  ")[0] for row in rows] == ["pp16", "tg4", "pp16 @ d32", "tg4 @ d32"]
    assert peak.startswith("peak memory")


def test_bench_json_has_the_names_of_llama_bench(small_path):
    code, out, _ = run(
        "bench", small_path, "-p", "8", "-n", "0", "-d", "4", "-r", "3", "--json", "--cache-type", "q8_0"
    )
    assert code == 0
    [row] = json.loads(out)
    assert (row["n_prompt"], row["n_gen"], row["n_depth"]) == (8, 0, 4)
    assert len(row["samples_ts"]) == 3
    assert row["avg_ts"] == pytest.approx(sum(row["samples_ts"]) / 3)
    assert row["stddev_ts"] >= 0
    assert row["n_threads"] == core_count()
    assert row["type_k"] == "q8_0"
    assert 0 < row["dot_share"] < 1
    assert row["read_bandwidth"] > 0


def test_bench_has_sequences_decode_together(small_path):
    code, out, err = run("bench", small_path, "--sequences", "1,3", "-n", "4", "-r", "2", "--json")
    assert code == 0, err
    rows = json.loads(out)
    assert [(row["n_prompt"], row["n_gen"], row["n_seq"]) for row in rows] == [(0, 4, 1), (0, 4, 3)]
    assert all(row["avg_ts"] > 0 and len(row["samples_ts"]) == 2 for row in rows)


def test_bench_reads_prompts_side_by_side(small_path):
    code, out, err = run("bench", small_path, "-p", "16", "--sequences", "2", "-d", "8", "-r", "1")
    assert code == 0, err
    assert [row.split("  ")[0] for row in out.splitlines()[1:-1]] == ["2 x pp16 @ d8"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["-p", "0", "-n", "0"], "nothing to measure"),
        (["--sequences", "0"], "0 sequences cannot be measured; give 1 or more (--sequences)"),
        (["--sequences", "two"], "'two' is not a number"),
        (["-d", "100000"], "of context; choose at most that"),
    ],
)
def test_bench_refuses_what_cannot_be_measured(small_path, arguments, named):
    assert named in refused("bench", small_path, *arguments)


@pytest.mark.parametrize(
    "options",
    (
        "--cache-type q8_0",
        "--cache-type f32",
        "--cache-type q4_0 --cache-type-k q8_0",
        pytest.param("--cache-type-v q8_0", marks=pytest.mark.slow),
    ),
)
def test_a_cache_of_another_type_talks_too(small_path, options):
    code, out, err = run("generate", small_path, "-p", "Hello", "-n", "4", "--temp", "0", *options.split())
    assert code == 0, err
    assert out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--cache-disk", "1GB", "--cache-folder", "/nowhere"), "create it first (--cache-folder)"),
        (("--cache-folder", "."), "are to have no room on a disk; say how much (--cache-disk)"),
        (("--cache-disk", "5K"), "allow at least that, better 98 MB (--cache-disk)"),
        (("--cache-disk", "lots"), "'lots' is not an amount of memory"),
    ],
)
def test_room_on_the_disk_that_cannot_be_is_refused_with_its_option(small_path, options, told):
    assert told in refused("generate", small_path, "-p", "Hello", *options)


def test_an_answer_with_pages_on_the_disk(small_path, tmp_path):
    options = ("--cache-disk", "10MB", "--cache-folder", tmp_path)
    code, out, err = run("generate", small_path, "-p", "Hello", "-n", "4", "--temp", "0", *options)
    assert code == 0, err
    assert out and list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_the_output_is_told_in_one_line(small_path):
    command = [sys.executable, "-m", "glmq", "generate", small_path, "-p", "x", "--max-tokens", "3"]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith(
        "glmq: error: what is printed cannot be written: No space"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_a_closed_output_takes_what_is_printed(small_path):
    command = f'"{sys.executable}" -m glmq generate "{small_path}" -p x --max-tokens 3 >&-'
    ended = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, env=ENVIRONMENT, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "error" not in ended.stderr
