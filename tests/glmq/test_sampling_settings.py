"""Settings of sampling: what is refused, what is read from text and options, what a model recommends."""

from __future__ import annotations

from dataclasses import asdict, replace

import click
import numpy as np
import pytest
from glmq_kernels.errors import GlmqError

from glmq.cli.sampling_options import sampling_of, sampling_options
from glmq.sampling import Sampling, recommended
from glmq.sampling.from_text import set_sampling

REFUSED = [
    {"temperature": -1},
    {"temperature": float("nan")},
    {"temperature": float("inf")},
    {"top_k": -1},
    {"top_k": 1.5},
    {"top_p": 1.5},
    {"min_p": 2},
    {"typical_p": -0.1},
    {"top_n_sigma": float("nan")},
    {"xtc_probability": 2},
    {"xtc_threshold": -1},
    {"dry_multiplier": -1},
    {"dry_base": 0.5},
    {"dry_allowed_length": -1},
    {"dry_last_n": -1},
    {"dry_last_n": 10**30},
    {"repeat_penalty": 0},
    {"frequency_penalty": float("inf")},
    {"presence_penalty": float("nan")},
    {"penalty_last_n": -1},
    {"mirostat": 1},
    {"mirostat_tau": -1},
    {"mirostat_eta": float("nan")},
    {"logit_bias": {-1: 1.0}},
    {"logit_bias": {3: float("inf")}},
    {"logit_bias": {3: float("nan")}},
    {"seed": -1},
    {"order": ("top_k", "top_q")},
]


@pytest.mark.parametrize("settings", REFUSED, ids=str)
def test_settings_that_make_no_sense_are_refused_by_name_in_one_line(settings):
    with pytest.raises(GlmqError, match=next(iter(settings))) as error:
        Sampling(**settings)
    assert "\n" not in str(error.value)


def test_the_defaults_are_those_of_llama_cpp():
    assert asdict(Sampling()) == {
        "temperature": 0.8,
        "top_k": 40,
        "top_p": 0.95,
        "min_p": 0.05,
        "typical_p": 1.0,
        "top_n_sigma": -1.0,
        "xtc_probability": 0.0,
        "xtc_threshold": 0.1,
        "repeat_penalty": 1.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "penalty_last_n": 64,
        "dry_multiplier": 0.0,
        "dry_base": 1.75,
        "dry_allowed_length": 2,
        "dry_last_n": 64,
        "dry_breakers": ("\n", ":", '"', "*"),
        "mirostat": 0,
        "mirostat_tau": 5.0,
        "mirostat_eta": 0.1,
        "logit_bias": {},
        "seed": None,
        "order": tuple("penalties dry top_n_sigma top_k typ_p top_p min_p xtc temperature".split()),  # noqa: SIM905
    }


GLM = {"general.architecture": "glm4moe"}


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"general.name": "GLM 4.5 Air"}, (0.6, 0.95, 0, 0.0)),
        ({"general.name": "Zai org_GLM 4.5"}, (0.6, 0.95, 0, 0.0)),
        ({"general.name": "Glm-4.6"}, (1.0, 0.95, 40, 0.0)),
        ({"general.name": "GLM-4_7"}, (1.0, 0.95, 0, 0.0)),
        ({"general.name": "glm4.5-106B"}, (0.6, 0.95, 0, 0.0)),
        ({"general.basename": "GLM", "general.version": "4.6"}, (1.0, 0.95, 40, 0.0)),
        ({"general.name": "My GLM"}, (1.0, 0.95, 0, 0.0)),
        ({"general.name": "Solar Open 100B"}, (0.8, 0.95, 40, 0.05)),
        ({}, (0.8, 0.95, 40, 0.05)),
        ({"general.architecture": "deepseek2", "general.name": "GLM-4.7-Flash"}, (1.0, 0.95, 0, 0.0)),
        ({"general.architecture": "deepseek2", "general.name": "DeepSeek 4.5"}, (0.8, 0.95, 40, 0.05)),
        ({"general.architecture": "llama", "general.name": "not GLM-4.6"}, (0.8, 0.95, 40, 0.05)),
    ],
    ids=str,
)
def test_glm_models_get_what_is_recommended_for_their_version(metadata, expected):
    found = recommended(GLM | metadata)
    assert (found.temperature, found.top_p, found.top_k, found.min_p) == expected


def test_what_the_file_says_comes_first():
    found = recommended(
        GLM
        | {
            "general.name": "GLM 4.5 Air",
            "general.sampling.temp": 0.30000001192092896,
            "general.sampling.top_k": 20,
            "general.sampling.penalty_repeat": 1.1,
            "general.sampling.sequence": "top_k;temperature",
        }
    )
    expected = {"temperature": 0.3, "top_p": 0.95, "top_k": 20, "min_p": 0.0, "repeat_penalty": 1.1}
    assert found == Sampling(**expected, order=("top_k", "temperature"))


@pytest.mark.parametrize("value", ("warm", -3, float("nan"), [1], np.ones(2)), ids=str)
def test_values_of_the_file_that_make_no_sense_are_passed_over(value):
    assert recommended({"general.sampling.temp": value, "general.sampling.sequence": "what"}) == Sampling()


@click.command()
@sampling_options
def command(**values):
    return values


def parsed(*arguments, base=None):
    return sampling_of(base or Sampling(), **command(list(arguments), standalone_mode=False))


def test_options_that_are_not_given_take_what_is_recommended():
    base = recommended(GLM | {"general.name": "GLM 4.5 Air"})
    assert parsed(base=base) == base
    assert parsed("--top-k", "7", base=base) == replace(base, top_k=7)


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        ("--temp 0", "temperature", 0),
        ("--top-k 0", "top_k", 0),
        ("--top-p 0.5", "top_p", 0.5),
        ("--min-p 0", "min_p", 0),
        ("--typical 0.7", "typical_p", 0.7),
        ("--top-n-sigma 1.5", "top_n_sigma", 1.5),
        ("--xtc-probability 0.5", "xtc_probability", 0.5),
        ("--xtc-threshold 0.2", "xtc_threshold", 0.2),
        ("--dry-multiplier 0.8", "dry_multiplier", 0.8),
        ("--dry-base 2", "dry_base", 2),
        ("--dry-allowed-length 3", "dry_allowed_length", 3),
        ("--dry-penalty-last-n 99", "dry_last_n", 99),
        (r"--dry-sequence-breaker \n\x41 --dry-sequence-breaker ##", "dry_breakers", ("\nA", "##")),
        ("--dry-sequence-breaker none", "dry_breakers", ()),
        ("--repeat-penalty 1.1", "repeat_penalty", 1.1),
        ("--repeat-last-n 0", "penalty_last_n", 0),
        ("--presence-penalty -1", "presence_penalty", -1),
        ("--frequency-penalty 0.2", "frequency_penalty", 0.2),
        ("--mirostat 2", "mirostat", 2),
        ("--mirostat-lr 0.2", "mirostat_eta", 0.2),
        ("--mirostat-ent 3", "mirostat_tau", 3),
        ("--logit-bias 15043+1 -l 7-inf -l 3-0.5", "logit_bias", {15043: 1.0, 7: float("-inf"), 3: -0.5}),
        ("-l 5+1 -l 5+1.5", "logit_bias", {5: 2.5}),
        (
            "--samplers topk;min_p;nucleus;typ;temp",
            "order",
            ("top_k", "min_p", "top_p", "typ_p", "temperature"),
        ),
        ("--seed 3", "seed", 3),
    ],
)
def test_every_option_reaches_its_setting(arguments, name, value):
    assert parsed(*arguments.split()) == replace(Sampling(), **{name: value})


@pytest.mark.parametrize("text", ("5", "5*2", "+1", "a+1", "5+", "5-x", "5+inf"))
def test_logit_biases_of_another_form_are_refused(text):
    with pytest.raises(GlmqError, match="logit.bias"):
        parsed("-l", text)


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("temp", "0.3", "temperature", 0.3),
        ("temperature", " 1 ", "temperature", 1.0),
        ("--top-k", "5", "top_k", 5),
        ("TOP_P", "1", "top_p", 1.0),
        ("seed", "9", "seed", 9),
        ("samplers", "top_k;temperature", "order", ("top_k", "temperature")),
        ("order", "temperature", "order", ("temperature",)),
        ("logit-bias", "3+1 4-inf", "logit_bias", {3: 1.0, 4: float("-inf")}),
        ("logit_bias", "none", "logit_bias", {}),
        ("dry_breakers", r"\n ##", "dry_breakers", ("\n", "##")),
        ("repeat-last-n", "7", "penalty_last_n", 7),
    ],
)
def test_a_setting_is_changed_by_any_of_its_names(name, text, field, value):
    before = Sampling(min_p=0.2)
    assert set_sampling(before, name, text) == replace(before, **{field: value})


def test_default_takes_one_setting_or_all_from_the_defaults():
    defaults, changed = Sampling(temperature=0.6), Sampling(temperature=2, top_k=1)
    assert set_sampling(changed, "temp", "default", defaults) == Sampling(temperature=0.6, top_k=1)
    assert set_sampling(changed, "temp", "default") == Sampling(top_k=1)
    assert set_sampling(changed, "default", "", defaults) == defaults


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("warmth", "1", "no setting 'warmth'"),
        ("temp", "hot", "temperature is 'hot'; it must be a number"),
        ("temp", "-1", "temperature is -1"),
        ("temp", "nan", "temperature"),
        ("temp", "", "temperature needs a value"),
        ("top_k", "1.5", "top_k is '1.5'; it must be a whole number"),
        ("samplers", "top_k;what", "no step 'what'"),
        ("logit_bias", "x", "logit bias"),
    ],
)
def test_what_cannot_be_set_is_told_in_one_line(name, text, told):
    with pytest.raises(GlmqError, match=told) as error:
        set_sampling(Sampling(), name, text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ("temperature", "top_p", "min_p", "repeat_penalty", "mirostat_tau", "top_k"))
@pytest.mark.parametrize("value", ("1", None, [1], {}))
def test_a_number_that_is_none_is_told_by_its_name(name, value):
    with pytest.raises(GlmqError, match=f"^{name} is .*; it must be"):
        Sampling(**{name: value})


def test_one_text_is_not_its_letters():
    assert Sampling(dry_breakers="ab").dry_breakers == ("ab",)
    assert Sampling(order="top_k").order == ("top_k",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("order", 5),
        ("order", [5]),
        ("dry_breakers", 5),
        ("dry_breakers", [None]),
        ("logit_bias", [1]),
        ("logit_bias", 5),
    ],
)
def test_lists_and_mappings_of_wrong_types_are_told_by_their_names(name, value):
    with pytest.raises(TypeError, match=f"^{name} is "):
        Sampling(**{name: value})


def test_a_bias_that_is_no_number_is_told_by_its_token():
    with pytest.raises(GlmqError, match="logit_bias of token 5 is x"):
        Sampling(logit_bias={5: "x"})
