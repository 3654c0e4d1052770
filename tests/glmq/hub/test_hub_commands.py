"""The command line with models of the Hub."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from glmq_kernels.errors import GlmqError

import glmq
from glmq.cli import main
from glmq.model_file import model_file

from ..test_command_line import run

REPO = "tiny/Air-GGUF"


@pytest.fixture(autouse=True)
def repository(hub, small_path):
    content = small_path.read_bytes()
    hub.repos[REPO] = {"air-Q4_K_M.gguf": content, "air-Q8_0.gguf": content + bytes(32)}


def invoke(*arguments):
    """(exit code, standard output, standard error) of a command, run in this process."""
    done = CliRunner().invoke(main, arguments)
    return done.exit_code, done.stdout, done.stderr


def refused(*arguments):
    code, out, err = invoke(*arguments)
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    return line


def test_pull_prints_the_path_and_other_commands_take_the_name(hub, tmp_path):
    environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    code, out, err = run("pull", REPO, **environment)
    path = tmp_path / "home/hub/models--tiny--Air-GGUF/snapshots" / hub.commit(REPO) / "air-Q4_K_M.gguf"
    assert (code, out) == (0, f"{path}\n")
    assert err == f"downloading {REPO}:Q4_K_M (6 MB) to {tmp_path}/home/hub\n"
    assert path.read_bytes() == hub.repos[REPO]["air-Q4_K_M.gguf"]
    hub.requests.clear()
    assert run("tokenize", REPO, "ab", **environment, HF_HUB_OFFLINE="1") == (0, "256\n", "")
    assert hub.requests == []


def test_what_is_not_there_is_downloaded_and_its_size_told(cache):
    code, out, err = invoke("tokenize", f"{REPO}:Q8_0", "ab")
    assert (code, out) == (0, "256\n")
    assert err == f"downloading {REPO}:Q8_0 (6 MB) to {cache}\n"


def test_list_downloads_nothing(hub):
    assert invoke("pull", REPO, "--list") == (0, "Q4_K_M  6 MB\nQ8_0  6 MB\n", "")
    assert hub.asked("store") == []


def test_refusals_are_one_line():
    assert "has no Q2_K; it has Q4_K_M (6 MB), Q8_0 (6 MB)" in refused("pull", f"{REPO}:Q2_K")
    assert "no repository some/thing" in refused("generate", "some/thing", "-p", "a")
    assert "'nothing' is not a name on the Hub" in refused("pull", "nothing")
    assert "no such revision" in refused("pull", REPO, "--revision", "old")


def test_files_and_folders_go_first(hub, small_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    (tmp_path / REPO).symlink_to(small_path)
    assert str(model_file(REPO)) == REPO
    assert hub.requests == []


def test_load_takes_the_name_and_tells_of_the_download(hub):
    with pytest.warns(UserWarning, match=rf"downloading {REPO}: 6 MB"), glmq.load(REPO) as model:
        assert model.file.path.name == "air-Q4_K_M.gguf"
    told = []
    with glmq.load(f"{REPO}:Q8_0", progress=lambda *each: told.append(each)):
        assert (f"downloading {REPO}:Q8_0 (6 MB, once)", 1.0) in told
    with pytest.raises(GlmqError, match="has no Q2_K"):
        glmq.load(f"{REPO}:Q2_K")
