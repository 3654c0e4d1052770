"""`glmq compile`, and programs that carry the folder it makes: which then needs few packages."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict

import pytest
from click.testing import CliRunner
from glmq_kernels.errors import GlmqError
from glmq_kernels.jit import isa
from glmq_kernels.jit.kernel_folder import CONTENTS, SYSTEMS, NewLibrary, read_folder, system, write_folder
from glmq_kernels.jit.store import ENTRY_POINT, object_codes

import glmq
from glmq import kernels_ahead
from glmq.cli import main
from glmq.demo import TOOLS_MODEL
from glmq.gguf import open_gguf
from glmq.kernels_ahead import compile_ahead, every_kernel, kernels_of

from . import small_models
from .test_command_line import ENVIRONMENT

pytestmark = pytest.mark.skipif(system() not in SYSTEMS, reason="kernels cannot be compiled ahead here")
WALK, STOP = "strings.kernel.walk", "threads.pool_kernel.stop"
NEEDED = {"numpy", "jinja2", "markupsafe", "tokenizers", "glmq", "glmq_kernels"}
"""Packages of a program that loads a model and chats with it."""

PROGRAM = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in NEEDED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

NEEDED = set(sys.argv[3].split(","))
sys.meta_path.insert(0, Absent())
import glmq

with glmq.load(sys.argv[1], kernels=sys.argv[2]) as model:
    print(model.chat([{"role": "user", "content": "Hello!"}], max_tokens=20, temperature=0).run(), end="")
"""


@pytest.fixture(scope="module")
def model():
    with glmq.load(TOOLS_MODEL) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """The kernels that this model uses as it is loaded by default, compiled for this machine."""
    programs = (model._program, model._program.prediction)
    tapes = [program.tape for program in programs if program is not None]
    names = [*(name for tape in tapes for name in tape.kernel_names()), *kernels_ahead.ALWAYS]
    level = isa.current()
    path = tmp_path_factory.mktemp("program") / "kernels"
    write_folder(path, {"mine": NewLibrary(asdict(level), (), object_codes(names, level, None))}, ENTRY_POINT)
    return path


def test_a_program_needs_numpy_jinja2_and_tokenizers_alone(model, folder):
    answer = model.chat([{"role": "user", "content": "Hello!"}], max_tokens=20, temperature=0)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, TOOLS_MODEL, folder, ",".join(NEEDED)],
        env={name: value for name, value in ENVIRONMENT.items() if name != "GLMQ_ISA"},
        capture_output=True, encoding="utf-8",
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (answer.run(), "")


def test_a_model_needs_what_it_is_run_with(model):
    with open_gguf(TOOLS_MODEL) as file:
        found = kernels_of(file)
    assert {*model._program.tape.kernel_names(), *kernels_ahead.ALWAYS} < found
    assert {name.split(":")[-2] for name in found if ".attend:" in name} == set(kernels_ahead.CACHES)
    assert {"gemm.gemv.dot_rows:Q4_0", "gemm.dequantized.dot_rows:Q4_0"} <= found


def test_all_kernels_are_those_of_every_tensor_type():
    found = every_kernel()
    assert {
        f"gemm.{kind}:{name}"
        for kind in ("gemv.dot_rows", "gemm.multiply")
        for name in ("Q2_K", "IQ1_M", "BF16")
    } <= found
    assert "gemm.dequantized.multiply:Q6_K" in found and "gemm.dequantized.multiply:F16" not in found
    assert "ops.attention.kernel.attend:4:128:128:Q8_0:apart" in found
    rows = [name for name in found if name.startswith("ops.embedding.kernel.rows:")]
    assert len([name for name in rows if "NIBBLES" not in name]) == 25
    assert len(rows) == 25 + 7, "what low-bit weights are transcoded to"


def test_all_kernels_are_also_those_of_latent_attention(monkeypatch, tmp_path):
    flash = {"KV_RANK": 512, "LATENT_NOPE": 192, "LATENT_ROPE": 64, "LATENT_VALUE": 256}
    for name, size in flash.items():
        monkeypatch.setattr(small_models, name, size)
    with open_gguf(small_models.write_deepseek2(tmp_path / "model.gguf", "Q8_0", old_layout=True)) as file:
        assert kernels_of(file) <= every_kernel()


@pytest.fixture
def needed(monkeypatch):
    """The kernels that models need here, next to none."""
    names = {WALK}
    monkeypatch.setattr(kernels_ahead, "kernels_of", lambda file: set(names))
    return names


def glmq_compile(*arguments):
    """(exit code, output) of the command."""
    done = CliRunner().invoke(main, ["compile", *map(str, arguments)])
    return done.exit_code, done.output


def test_kernels_are_compiled_into_a_folder(needed, tmp_path):
    code, out = glmq_compile("demo-tools", "--isa", "generic", "-o", tmp_path / "kernels")
    (entry,) = read_folder(tmp_path / "kernels").libraries.values()
    assert code == 0
    *_, of_level, of_folder = out.splitlines()
    assert of_level == "generic: 1 kernel, 0.0 MB"
    assert of_folder.startswith(f"{tmp_path / 'kernels'}: 0.0 MB in ")
    assert (entry.kernels, entry.level["name"], entry.needs) == ((WALK,), "generic", ())
    assert {path.name for path in (tmp_path / "kernels").iterdir()} == {CONTENTS, entry.file}


def test_further_models_and_levels_are_added(needed, tmp_path):
    compile_ahead([TOOLS_MODEL], False, ["generic"], tmp_path)
    needed ^= {WALK, STOP}
    steps = []
    compile_ahead([TOOLS_MODEL], False, ["generic", "avx512"], tmp_path, lambda *step: steps.append(step))
    found = read_folder(tmp_path).libraries
    assert {name: set(entry.kernels) for name, entry in found.items()} == {
        "avx512": {STOP},
        "generic": {WALK, STOP},
    }
    assert {text for text, _ in steps} <= {
        "compiling kernels for avx512 (1 of 2)",
        "compiling kernels for generic (2 of 2)",
    }
    compile_ahead([TOOLS_MODEL], False, ["generic"], tmp_path)
    assert read_folder(tmp_path).libraries == found


def test_a_folder_of_another_version_is_made_anew(needed, tmp_path, monkeypatch):
    (tmp_path / CONTENTS).write_text('{"format": 0}')
    monkeypatch.setenv("GLMQ_KERNELS", str(tmp_path))
    assert glmq_compile("demo-tools", "--isa", "generic", "-o", tmp_path)[0] == 0
    assert read_folder(tmp_path).libraries["generic"].kernels == (WALK,)


@pytest.mark.parametrize(
    ("arguments", "told"),
    (
        ((), "name a MODEL, such as demo, or give --all"),
        (("demo-tools", "--isa", "avx9"), "instructions 'avx9' are not known; choose auto, all or some of"),
        (("none.gguf",), "none.gguf"),
        (("demo-tools", "--isa", "generic"), "file cannot be written"),
    ),
)
def test_what_cannot_be_compiled_ahead_is_refused_in_a_line(needed, tmp_path, arguments, told):
    (tmp_path / "file").touch()
    code, out = glmq_compile(*arguments, "-o", tmp_path / "file")
    assert code == 2
    assert told in out.splitlines()[-1] and out.splitlines()[-1].startswith("glmq: error: ")


def test_other_systems_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(GlmqError, match="on linux-x86_64 so far; this is darwin"):
        compile_ahead([], True, ["auto"], tmp_path)


def test_load_refuses_what_is_no_folder_of_kernels(tmp_path):
    with pytest.raises(GlmqError, match="is no folder of kernels"):
        glmq.load("demo-tools", kernels=tmp_path)
    with pytest.raises(TypeError, match="kernels is 3"):
        glmq.load("demo-tools", kernels=3)
