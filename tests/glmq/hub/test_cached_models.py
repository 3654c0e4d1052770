"""Listing and removing what was downloaded."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest
from click.testing import CliRunner
from glmq_kernels.errors import GlmqError
from huggingface_hub import constants, scan_cache_dir

from glmq.cli import main
from glmq.cli.model_argument import complete_cached, complete_model
from glmq.cli.models import ago
from glmq.hub.cache import cached_model
from glmq.hub.cached_models import cached_models, plan_removal
from glmq.hub.names import hub_name
from glmq.hub.pull import plan_checkpoint, plan_pull

from .local_hub import LocalHub
from .test_hub_commands import invoke

AIR, CHECKPOINT = "org/Air-GGUF", "org/Air"
HEADER = b"GGUF\3\0\0\0" + bytes(8) + b"\1" + bytes(7) + b"\x14" + bytes(7) + b"general.architecture"
HEADER += b"\x08\0\0\0" + b"\7" + bytes(7) + b"glm4moe"


REPOS = {
    AIR: {
        "air-Q4_K_M.gguf": HEADER + bytes(1000),
        "air-Q8_0-00001-of-00002.gguf": HEADER + bytes(2000),
        "air-Q8_0-00002-of-00002.gguf": b"second part",
    },
    CHECKPOINT: {"model.safetensors": b"weights", "config.json": b"{}", "other.bin": b"not this"},
}


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory):
    """A cache with two models and a checkpoint."""
    folder = tmp_path_factory.mktemp("downloaded") / "cache"
    with LocalHub(repos=REPOS) as local, pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", local.url)
        patch.setattr(constants, "HF_HUB_CACHE", str(folder))
        for plan in (plan_pull(hub_name(AIR)), plan_pull(hub_name(f"{AIR}:Q8_0"))):
            plan.run()
        plan_checkpoint(hub_name(CHECKPOINT)).run()
    return folder


@pytest.fixture(autouse=True)
def filled(hub, cache, downloaded):
    hub.repos = {repo: dict(files) for repo, files in REPOS.items()}
    shutil.copytree(downloaded, cache, symlinks=True)


def listed():
    return {each.name: each for each in cached_models()}


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_models_and_checkpoints_are_listed():
    found = listed()
    assert [(each.name, each.kind, each.architecture, len(each.paths)) for each in found.values()] == [
        (CHECKPOINT, "checkpoint", "", 1),
        (f"{AIR}:Q4_K_M", "Q4_K_M", "glm4moe", 1),
        (f"{AIR}:Q8_0", "Q8_0", "glm4moe", 2),
    ]
    assert found[f"{AIR}:Q8_0"].n_bytes == len(HEADER) + 2000 + len(b"second part")


def test_all_that_is_there_is_found_again_by_its_name():
    for name in (f"{AIR}:Q4_K_M", f"{AIR}:Q8_0"):
        assert cached_model(hub_name(name)).path == listed()[name].paths[0]


def test_use_is_remembered():
    model = cached_model(hub_name(AIR))
    os.utime(model.path, (1000, 1000))
    assert listed()[f"{AIR}:Q4_K_M"].last_used == 1000
    model.mark_used()
    assert time.time() - listed()[f"{AIR}:Q4_K_M"].last_used < 60
    assert model.path.stat().st_mtime == 1000


def test_older_models_have_names_with_their_commit(hub):
    old = hub.commit(AIR)
    hub.repos[AIR]["air-Q4_K_M.gguf"] = HEADER + b"new"
    plan_pull(hub_name(AIR)).run()
    assert f"{AIR}@{old}:Q4_K_M" in listed()
    assert cached_model(hub_name(f"{AIR}@{old}:Q4_K_M")).path.stat().st_size == len(HEADER) + 1000
    plan_removal(hub_name(f"{AIR}@{old}:Q4_K_M")).run()
    assert f"{AIR}@{old}:Q4_K_M" not in listed()
    assert cached_model(hub_name(AIR)).path.stat().st_size == len(HEADER) + 3


def test_parts_that_lack_and_unfinished_downloads_are_told(cache):
    next(cache.rglob("*00002-of-00002.gguf")).unlink()
    (cache / "models--org--Air-GGUF" / "blobs" / "abc.incomplete").write_bytes(bytes(5))
    found = listed()
    assert found[f"{AIR}:Q8_0"].n_missing == 1
    assert (found[AIR].kind, found[AIR].n_bytes) == ("unfinished", len(b"second part") + 5)


def test_one_model_is_removed_and_others_stay(cache):
    removal = plan_removal(hub_name(f"{AIR}:Q8_0"))
    assert removal.files == ("air-Q8_0-00001-of-00002.gguf", "air-Q8_0-00002-of-00002.gguf")
    assert removal.n_bytes == len(HEADER) + 2000 + len(b"second part")
    removal.run()
    assert list(listed()) == [CHECKPOINT, f"{AIR}:Q4_K_M"]
    assert len(files(cache / "models--org--Air-GGUF" / "blobs")) == 1
    assert not scan_cache_dir(cache).warnings


def test_what_other_files_share_stays(hub):
    hub.repos[AIR]["copy-Q6_K.gguf"] = hub.repos[AIR]["air-Q4_K_M.gguf"]
    plan_pull(hub_name(f"{AIR}:Q6_K")).run()
    removal = plan_removal(hub_name(f"{AIR}:Q6_K"))
    assert removal.n_bytes == 0
    removal.run()
    assert cached_model(hub_name(f"{AIR}:Q4_K_M")).path.read_bytes() == hub.repos[AIR]["air-Q4_K_M.gguf"]


def test_a_repository_goes_with_its_unfinished_downloads(cache):
    (cache / "models--org--Air-GGUF" / "blobs" / "abc.incomplete").write_bytes(bytes(5))
    plan_removal(hub_name(AIR)).run()
    assert list(listed()) == [CHECKPOINT]
    assert not (cache / "models--org--Air-GGUF").exists()


def test_unfinished_downloads_alone_are_removed(cache):
    folder = cache / "models--org--New-GGUF"
    (folder / "blobs").mkdir(parents=True)
    (folder / "blobs" / "abc.incomplete").write_bytes(bytes(5))
    plan_removal(hub_name("org/New-GGUF")).run()
    assert not folder.exists()


def test_what_is_not_there_cannot_be_removed():
    with pytest.raises(
        GlmqError, match=f"org/None is not in the cache; there are {CHECKPOINT}, {AIR}:Q4_K_M"
    ):
        plan_removal(hub_name("org/None"))
    with pytest.raises(GlmqError, match=f"of {AIR} there are {AIR}:Q4_K_M, {AIR}:Q8_0"):
        plan_removal(hub_name(f"{AIR}:Q2_K"))


# ---- commands


def test_the_table():
    code, out, err = invoke("models")
    assert code == 0
    lines = [line.split("  ") for line in out.splitlines()]
    assert [line[0] for line in lines] == ["name", CHECKPOINT, f"{AIR}:Q4_K_M", f"{AIR}:Q8_0"]
    assert lines[2][-1].strip() == "just now"
    assert err.startswith("0.0 GB in ")


def test_json():
    [checkpoint, model, _] = json.loads(invoke("models", "--json")[1])
    assert checkpoint["type"] == "checkpoint"
    assert (model["name"], model["type"], model["architecture"]) == (f"{AIR}:Q4_K_M", "Q4_K_M", "glm4moe")
    assert (model["n_bytes"], model["n_parts_missing"]) == (len(HEADER) + 1000, 0)
    [path] = model["files"]
    assert path.endswith("air-Q4_K_M.gguf")


def test_an_empty_cache(cache):
    for name in (AIR, CHECKPOINT):
        assert invoke("rm", name, "--yes")[0] == 0
    assert invoke("models") == (0, "", f"There is nothing in {cache}; glmq pull downloads models.\n")
    assert invoke("models", "--json") == (0, "[]\n", "")


def test_rm_asks_or_wants_to_be_told():
    code, _, err = invoke("rm", f"{AIR}:Q8_0")
    assert code == 2
    assert err == f"glmq: error: {AIR}:Q8_0: 2 files, 1 MB would be removed; say so with --yes\n"
    assert f"{AIR}:Q8_0" in listed()
    assert invoke("rm", f"{AIR}:Q8_0", "--yes") == (0, "", f"removed {AIR}:Q8_0: 2 files, 1 MB\n")
    assert f"{AIR}:Q8_0" not in listed()


def test_rm_takes_names_alone():
    assert "not a name on the Hub" in invoke("rm", "air.gguf")[2]


def test_times_are_told_by_how_long_ago_they_were():
    told = {0: "just now", 61: "1 minute ago", 7300: "2 hours ago", 90_000: "1 day ago", 10**8: "3 years ago"}
    assert {seconds: ago(time.time() - seconds) for seconds in told} == told


def test_shells_complete_names():
    names = [item.value for item in complete_model(None, None, "org/Air-GGUF:")]
    assert names == [f"{AIR}:Q4_K_M", f"{AIR}:Q8_0", "org/Air-GGUF:"]
    assert [item.value for item in complete_model(None, None, "demo")] == ["demo", "demo-tools", "demo"]
    assert [item.value for item in complete_cached(None, None, "org/Air-G")] == [
        f"{AIR}:Q4_K_M",
        f"{AIR}:Q8_0",
    ]
    shown = CliRunner().invoke(
        main, prog_name="glmq",
        env={"_GLMQ_COMPLETE": "bash_complete", "COMP_WORDS": "glmq chat org/", "COMP_CWORD": "2"},
    )  # fmt: skip
    assert f"plain,{AIR}:Q4_K_M" in shown.output.splitlines()
