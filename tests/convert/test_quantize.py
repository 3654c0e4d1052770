"""GGUF to GGUF: types, metadata, importance, split files, and what is refused."""

from __future__ import annotations

import errno
import re

import numpy as np
import pytest
from click.testing import CliRunner
from glmq_convert import portion_work
from glmq_convert.conversion import gguf_model_source, planned_types, quantize
from glmq_convert.importance import Importance, TensorSums, importance_target, write_importance
from glmq_convert.mixes import TypeChoice, size_table
from glmq_convert.splits import SplitSizes
from glmq_kernels.errors import GlmqError
from glmq_kernels.formats.quantize import quantize_rows

from glmq.cli import main
from glmq.gguf import open_gguf
from tests.glmq.small_models import write_glm4moe
from tests.glmq.test_command_line import run

DOWN = "blk.1.ffn_down_exps.weight"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A model of F32 weights."""
    return write_glm4moe(tmp_path_factory.mktemp("source") / "small-F32.gguf", "F32")


@pytest.fixture
def model(source):
    with open_gguf(source) as file:
        yield file


def contents(path):
    """{name: (type, bytes)} of a model's tensors."""
    with open_gguf(path) as file:
        return {name: (info.type, file.data(name).tobytes()) for name, info in file.tensors.items()}


def test_types_metadata_and_bytes(model, tmp_path):
    path = quantize(model, tmp_path, "q8_0")
    assert path.name == "small-F32-Q8_0.gguf"
    with open_gguf(path) as made:
        assert made.metadata["general.file_type"] == 7
        assert made.metadata["general.quantization_version"] == 2
        others = {"general.file_type", "general.quantization_version"}
        assert made.metadata.keys() - others == model.metadata.keys() - others
        info = model.tensor(DOWN)
        weights = model.data(DOWN).view(np.float32).reshape(-1, info.shape[-1])
        assert made.tensor(DOWN).type == "Q8_0"
        assert made.data(DOWN).tobytes() == quantize_rows(weights, "Q8_0").tobytes()


def test_experts_are_quantized_by_their_own_importance(model, tmp_path):
    n, _, columns = model.tensor(DOWN).shape
    sums = np.random.default_rng(0).random((n, columns), np.float32) ** 4
    known = {DOWN: TensorSums(sums, np.ones(n, np.int64))}
    importance = Importance("of texts", ("texts.txt",), 3, 512, known)
    path = quantize(model, tmp_path, TypeChoice("Q8_0", overrides=((DOWN, "Q4_0"),)), importance=importance)
    with open_gguf(path) as made:
        blocks = made.data(DOWN).reshape(n, -1)
        weights = model.data(DOWN).view(np.float32).reshape(n, -1, columns)
        for expert in range(n):
            expected = quantize_rows(weights[expert], "Q4_0", importance=sums[expert])
            assert blocks[expert].tobytes() == expected.tobytes()
        told = {key: value for key, value in made.metadata.items() if key.startswith("quantize.imatrix.")}
    assert told == {
        "quantize.imatrix.file": "of texts",
        "quantize.imatrix.dataset": "texts.txt",
        "quantize.imatrix.entries_count": 1,
        "quantize.imatrix.chunks_count": 3,
    }


def test_metadata_gets_the_type_that_the_key_has(model, tmp_path):
    values = {
        "general.name": "Another name",
        "glm4moe.context_length": "4096",
        "glm4moe.rope.freq_base": "500",
        "my.number": "int:-3",
        "my.truth": "bool:true",
        "my.text": "12",
    }
    with open_gguf(quantize(model, tmp_path, "f32", metadata=values)) as made:
        assert {key: made.metadata[key] for key in values} == {
            "general.name": "Another name",
            "glm4moe.context_length": 4096,
            "glm4moe.rope.freq_base": 500.0,
            "my.number": -3,
            "my.truth": True,
            "my.text": "12",
        }
        for key in ("glm4moe.context_length", "glm4moe.rope.freq_base"):
            assert made.value_types[key] == model.value_types[key]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"general.architecture": "llama"}, "follows from how the file is written"),
        ({"split.count": "2"}, "follows from how the file is written"),
        ({"": "2"}, "which is no key"),
        ({"tokenizer.ggml.tokens": "x"}, "which is a list there"),
        ({"glm4moe.context_length": "long"}, "'long' is no value for glm4moe.context_length"),
        ({"glm4moe.context_length": "-1"}, "'-1' is no value for glm4moe.context_length"),
        ({"my.truth": "bool:perhaps"}, "'perhaps' is no value for my.truth"),
        ({"my.number": "float:1e39"}, "'1e39' is no value for my.number"),
        ({"my.number": "int:" + "9" * 5000}, "9… is no value for my.number"),
        ({"my.text": "\udcff"}, "'\\udcff' is no value for my.text"),
        ({"my.\udcff": "2"}, "which is no key"),
        ({"my." + "x" * 65533: "2"}, "which is no key"),
    ],
)
def test_metadata_that_cannot_be_set(model, tmp_path, values, told):
    with pytest.raises(GlmqError, match=re.escape(told)):
        quantize(model, tmp_path, "f32", metadata=values)
    assert not list(tmp_path.iterdir())


class TestSplitting:
    def test_files_by_size_hold_the_same_model(self, model, tmp_path):
        whole = quantize(model, tmp_path / "whole.gguf", "q8_0")
        largest = max(info.n_bytes for info in model.tensors.values())
        first = quantize(model, tmp_path / "parts.gguf", "q8_0", split=SplitSizes(max_bytes=largest // 2))
        files = sorted(tmp_path.glob("parts-*"))
        n = len(files)
        assert n > 2
        assert [each.name for each in files] == [f"parts-{i + 1:05}-of-{n:05}.gguf" for i in range(n)]
        assert first == files[0]
        assert contents(files[1]) == contents(whole)
        with open_gguf(first) as made:
            assert made.metadata["split.count"] == n
            assert made.metadata["split.tensors.count"] == len(made.tensors)
            assert [made.value_types[f"split.{key}"] for key in ("no", "count", "tensors.count")] == [
                "uint16", "uint16", "int32",
            ]  # fmt: skip

    def test_later_files_hold_only_what_tells_of_the_split(self, model, tmp_path):
        import gguf

        quantize(model, tmp_path / "parts.gguf", "q8_0", split=SplitSizes(max_tensors=20))
        second = gguf.GGUFReader(sorted(tmp_path.glob("parts-*"))[1])
        keys = [key for key in second.fields if not key.startswith("GGUF.")]
        assert keys == ["split.no", "split.count", "split.tensors.count"]
        assert len(second.tensors) == 20

    def test_the_split_of_the_source_is_kept(self, model, tmp_path):
        quantize(model, tmp_path / "parts.gguf", "f32", split=SplitSizes(max_tensors=17))
        with open_gguf(tmp_path / "parts-00001-of-00003.gguf") as split:
            quantize(split, tmp_path / "again.gguf", "q8_0", keep_split=True)
        assert len(list(tmp_path.glob("again-*"))) == 3
        with open_gguf(tmp_path / "again-00001-of-00003.gguf") as again:
            assert sum(info.file_index == 0 for info in again.tensors.values()) == 17

    def test_none_of_the_files_is_overwritten(self, model, tmp_path):
        (tmp_path / "parts-00002-of-00003.gguf").write_text("earlier")
        with pytest.raises(GlmqError, match=r"parts-00002-of-00003.gguf is there already"):
            quantize(model, tmp_path / "parts.gguf", "f32", split=SplitSizes(max_tensors=17))
        assert [each.name for each in tmp_path.iterdir()] == ["parts-00002-of-00003.gguf"]


class TestWhatIsNotFinite:
    @pytest.fixture
    def spoilt(self, source, tmp_path):
        """The model with three weights that are no finite numbers, in two experts."""
        path = tmp_path / "spoilt.gguf"
        path.write_bytes(source.read_bytes())
        with open_gguf(source) as file:
            start = file.tensor(DOWN).offset
        weights = np.memmap(path, np.float32, "r+", start, (5000,))
        weights[[3, 70]], weights[4900] = np.nan, np.inf
        weights.flush()
        with open_gguf(path) as file:
            yield file

    def test_it_is_refused_and_counted(self, spoilt, tmp_path):
        with pytest.raises(GlmqError, match=f"{DOWN} holds 3 values that are not a finite number") as found:
            quantize(spoilt, tmp_path / "out.gguf", "q8_0")
        assert found.value.setting == "allow_nan"
        assert [each.name for each in tmp_path.iterdir()] == ["spoilt.gguf"]

    @pytest.mark.parametrize("type_name", ["q8_0", "f16"])
    def test_it_becomes_0_where_that_is_allowed(self, spoilt, tmp_path, type_name):
        remarks = []
        path = quantize(spoilt, tmp_path / "out.gguf", type_name, allow_nan=True, remark=remarks.append)
        assert remarks == [f"3 values of {DOWN} were not finite; 0 is written for them"]
        with open_gguf(path) as made:
            info = spoilt.tensor(DOWN)
            weights = spoilt.data(DOWN).view(np.float32).reshape(-1, info.shape[-1])
            expected = quantize_rows(np.nan_to_num(weights, posinf=0), type_name.upper())
            assert made.data(DOWN).tobytes() == expected.tobytes()


def test_types_that_need_importance(model, tmp_path):
    with pytest.raises(GlmqError) as found:
        planned_types(gguf_model_source(model), TypeChoice("Q8_0", overrides=(("down_exps", "IQ2_XXS"),)))
    assert re.fullmatch(
        r"tensor blk\.\d\.ffn_down_exps\.weight would be IQ2_XXS, which needs an importance matrix; give one"
        r", or choose a larger type",
        str(found.value),
    )
    assert found.value.setting == "importance"


@pytest.mark.parametrize("name", ["IQ3_XXS", "Q2_K_S", "MOE_IQ2_S", "IQ1_M"])
def test_mixes_that_need_importance(model, name):
    with pytest.raises(GlmqError, match=f"^{name} needs an importance matrix; give one, or choose a larger"):
        planned_types(gguf_model_source(model), TypeChoice(name))


def test_sizes_by_kinds(model):
    table = size_table(planned_types(gguf_model_source(model), TypeChoice("Q8_0")))
    assert table[-1].kind == "all"
    assert table[-1].n_bytes == sum(row.n_bytes for row in table[:-1])
    kinds = {row.kind: row for row in table}
    assert kinds["ffn_down_exps"].bits_per_weight == 8.5
    assert kinds["vectors and routers"].types == {"F32": kinds["vectors and routers"].types["F32"]}


def test_the_source_is_not_overwritten(source, model):
    with pytest.raises(GlmqError, match="is a file of the source"):
        quantize(model, source, "q8_0", force=True)


def test_a_source_that_is_quantized_already_is_told(model, tmp_path):
    remarks = []
    with open_gguf(quantize(model, tmp_path / "coarse.gguf", TypeChoice("Q4_0", pure=True))) as coarse:
        quantize(coarse, tmp_path / "again.gguf", "f16", remark=remarks.append)
    assert "are quantized already" in remarks[0]


def test_a_disk_without_room_is_told_before_anything_is_written(model, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(GlmqError, match=r"needs \d+ MB and .* has \d+ MB free"):
        quantize(model, tmp_path / "out.gguf", "q8_0")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_becomes_full(model, tmp_path, monkeypatch):
    def full(file, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(portion_work, "write_all", full)
    with pytest.raises(GlmqError, match=r"out.gguf cannot be written: No space left on device"):
        quantize(model, tmp_path / "out.gguf", "q8_0")
    assert not list(tmp_path.iterdir())


def test_the_command(source, model, tmp_path):
    n = model.tensor(DOWN).shape[0]
    counts = np.ones(n, np.int64)
    sums = np.ones((n, model.tensor(DOWN).shape[-1]), np.float32)
    importance = Importance("x", ("texts",), 1, 512, {DOWN: TensorSums(sums, counts)})
    write_importance(importance, importance_target(tmp_path / "x.imatrix"))
    code, out, err = run(
        "quantize", source, tmp_path / "out.gguf", "--type", "q8_0", "--imatrix", tmp_path / "x.imatrix",
        "--tensor-type", "down_exps=f16", "--output-tensor-type", "f32", "--metadata", "general.name=A=B",
        "--split-max-tensors", 17,
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "out-00001-of-00003.gguf and 2 more" in out
    with open_gguf(tmp_path / "out-00001-of-00003.gguf") as made:
        assert made.tensor(DOWN).type == "F16"
        assert made.tensor("output.weight").type == "F32"
        assert made.metadata["general.name"] == "A=B"


def in_process(*arguments):
    """A command's result, without a process of its own."""
    return CliRunner().invoke(main, [str(each) for each in arguments])


def test_a_dry_run_writes_nothing(source, tmp_path):
    done = in_process("quantize", source, tmp_path / "out.gguf", "--type", "q8_0", "--dry-run")
    assert (done.exit_code, done.stderr) == (0, "")
    assert re.search(r"ffn_down_exps +[\d.]+ GB +8\.50 bits  Q8_0\n", done.stdout)
    assert re.search(r"\nall +[\d.]+ GB", done.stdout)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--type", "Q9"], "type 'Q9' is not known; did you mean Q"),
        (["--type", "q8_0", "--tensor-type", "x"], "'x' is not REGEX=TYPE (--tensor-type)"),
        (["--type", "q8_0", "--tensor-type", "fnn=q8_0"], "no tensor that could be quantized"),
        (["--type", "q8_0", "--imatrix", "nowhere"], "nowhere cannot be read: No such file"),
        (["--type", "q8_0", "--metadata", "=x"], "'=x' is not KEY=VALUE (--metadata)"),
        (["--type", "q8_0", "--threads", "100000"], "100000 threads are not possible"),
        (["--target-bpw", "nan"], "a size of nan is not possible (--target-bpw)"),
        ([], "say which types the file is to have (--type)"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(source, tmp_path, arguments, told):
    done = in_process("quantize", source, tmp_path / "out.gguf", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"glmq: error: {told}")
    assert done.stderr.count("\n") == 1


def test_names_that_no_file_can_have_are_told_in_a_line(source):
    name = "a" * 300
    for arguments in (("convert", name), ("verify", source, "--against", name)):
        done = in_process(*arguments)
        assert done.exit_code == 2
        assert done.stderr.splitlines() == [f"glmq: error: {name} cannot be used: File name too long"]
