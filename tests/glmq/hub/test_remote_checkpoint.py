"""Checkpoints of the Hub: converted as those on the disk, whole or shard by shard."""

from __future__ import annotations

import shutil
from concurrent.futures import wait as wait_for

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from glmq_convert.conversion import checkpoint_types, convert
from glmq_convert.target_size import TargetSize, sampled_errors
from glmq_kernels.errors import GlmqError

from glmq.hub import download, remote_checkpoint
from glmq.hub.cached_models import cached_models
from glmq.hub.names import hub_name
from glmq.hub.remote_checkpoint import HEADER_GUESS, RemoteCheckpoint
from glmq.hub.remote_file import Stopped

from ... import glm4_moe_checkpoints as checkpoints
from .test_hub_commands import invoke

REPO = "org/Small"
NAME = hub_name(REPO)
SHARDS = [f"model-0000{i}-of-00004.safetensors" for i in (1, 2, 3, 4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint in four shards. One weight is FP8, with its scale in another shard."""
    folder = tmp_path_factory.mktemp("checkpoint") / "Small"
    checkpoints.save_checkpoint(folder)
    weights = checkpoints.load_weights(folder)
    for path in folder.glob("model*"):
        path.unlink()
    files = {shard: {name: weights[name] for name in sorted(weights)[i::4]} for i, shard in enumerate(SHARDS)}
    coded = next(name for name in files[SHARDS[1]] if name.endswith("down_proj.weight"))
    scale = weights[coded].float().abs().amax(1, keepdim=True) / 448
    files[SHARDS[1]][coded] = (weights[coded].float() / scale).to(torch.float8_e4m3fn)
    files[SHARDS[0]][f"{coded}_scale"] = scale
    checkpoints.write_weights(folder, files)
    return folder


@pytest.fixture(scope="module")
def expected(folder, tmp_path_factory):
    """What converting the folder gives."""
    return convert(folder, tmp_path_factory.mktemp("expected") / "small.gguf", "q8_0").read_bytes()


@pytest.fixture(autouse=True)
def repository(hub, folder, monkeypatch):
    monkeypatch.setattr(download, "PIECE_BYTES", 100_000)
    hub.repos[REPO] = {path.name: path.read_bytes() for path in folder.iterdir()}
    return hub.repos[REPO]


def remotely(out, **more):
    with RemoteCheckpoint(NAME) as remote:
        return convert(remote.folder, out, "q8_0", store=remote, **more)


def ranges(hub):
    """(file, first byte, last byte) of all requests to the store."""
    asked = [each for each in hub.requests if each.host == "store"]
    return [
        (each.path.split("?")[0].rpartition("/")[2], *map(int, each.headers["range"][6:].split("-")))
        for each in asked
    ]


def blobs(cache):
    """Large files in the cache, whole or not: those with SHA-256."""
    return [path for path in cache.glob("*/blobs/*") if len(path.name) >= 64]


@pytest.mark.parametrize("room", [100_000_000_000, 0], ids=["two shards", "one shard"])
def test_the_file_is_that_of_the_folder_with_as_many_shards_on_the_disk_as_there_is_room_for(
    room, tmp_path, expected, cache, monkeypatch
):
    """The next shard comes while one is converted, unless the disk would lack room for the result."""
    real = shutil.disk_usage
    spare = remote_checkpoint.ROOM_LEFT + room  # beside what is yet to be written

    class Watched(RemoteCheckpoint):
        def fetch_ahead(self, path, n_bytes):
            free = real(tmp_path)._replace(free=n_bytes + spare)
            with monkeypatch.context() as patch:
                patch.setattr(shutil, "disk_usage", lambda folder: free)
                super().fetch_ahead(path, n_bytes)
            wait_for([each._paths for each in self._ahead.values()])
            seen.append(len(blobs(cache)))

    seen = []
    with Watched(NAME) as remote:
        path = convert(remote.folder, tmp_path / "small.gguf", "q8_0", store=remote)
    assert path.read_bytes() == expected
    assert seen == ([2, 2, 2] if room else [1, 1, 1])
    assert blobs(cache) == []
    assert list(tmp_path.glob(".*")) == []


def test_a_shard_that_fails_ahead_is_told_when_it_is_wanted(tmp_path, hub):
    with RemoteCheckpoint(NAME) as remote:
        hub.wrong.add(SHARDS[1])
        remote.fetch_ahead(remote.folder / SHARDS[1], 0)
        wait_for([each._paths for each in remote._ahead.values()])
        remote.fetch(remote.folder / SHARDS[0])
        with pytest.raises(GlmqError, match="wrong checksum"):
            remote.fetch(remote.folder / SHARDS[1])


def test_the_end_of_a_conversion_stops_what_comes_ahead(hub, cache):
    with RemoteCheckpoint(NAME) as remote:
        hub.seconds = 0.2
        remote.fetch_ahead(remote.folder / SHARDS[1], 0)
        [under_way] = remote._ahead.values()
    with pytest.raises(Stopped):
        under_way._paths.result()
    assert all(path.suffix == ".incomplete" for path in blobs(cache))


def test_sizes_are_told_without_the_weights(hub, folder):
    with RemoteCheckpoint(NAME) as remote:
        planned = checkpoint_types(remote.folder, "q8_0", store=remote)
    assert planned == checkpoint_types(folder, "q8_0")
    assert sorted(ranges(hub)) == [(shard, 0, HEADER_GUESS - 1) for shard in SHARDS]


def test_types_for_a_size_follow_from_some_rows_before_any_shard_comes(
    tmp_path, folder, hub, cache, monkeypatch
):
    monkeypatch.setattr(sampled_errors, "CANDIDATES", ("Q4_0", "Q8_0"))
    monkeypatch.setattr(sampled_errors, "SAMPLE_WEIGHTS", 256)
    size = TargetSize(bits_per_weight=6.0)
    in_folder = convert(folder, tmp_path / "folder.gguf", size=size).read_bytes()
    hub.requests.clear()
    code, told, _ = invoke("convert", REPO, "--remote", "--target-bpw", "6", "--dry-run")
    assert code == 0 and "Q4_0" in told and "Q8_0" in told
    n_read = sum(last - first for _, first, last in ranges(hub) if first)
    assert n_read < sum(map(len, hub.repos[REPO].values())) / 5
    assert blobs(cache) == []
    out = tmp_path / "small.gguf"
    assert invoke("convert", REPO, str(out), "--remote", "--target-bpw", "6")[0] == 0
    assert out.read_bytes() == in_folder


def test_shards_that_are_in_the_cache_are_used_and_stay(tmp_path, expected, hub, cache):
    assert invoke("convert", REPO, str(tmp_path / "small.gguf"))[0] == 0
    assert (tmp_path / "small.gguf").read_bytes() == expected
    hub.requests.clear()
    assert remotely(tmp_path / "again.gguf").read_bytes() == expected
    assert ranges(hub) == []
    hub.requests.clear()
    code, out, _ = invoke("convert", REPO, "--remote", "--dry-run")
    assert code == 0
    assert " GB" in out
    assert hub.requests == []
    assert len(blobs(cache)) == 4
    assert [each.kind for each in cached_models()] == ["checkpoint"]


def test_a_conversion_that_was_stopped_goes_on_with_the_shards_that_are_left(tmp_path, expected, hub):
    out = tmp_path / "small.gguf"

    class Stopping(RemoteCheckpoint):
        def fetch(self, path):
            if path.name == SHARDS[2]:
                raise KeyboardInterrupt
            super().fetch(path)

    with pytest.raises(KeyboardInterrupt), Stopping(NAME) as remote:
        convert(remote.folder, out, "q8_0", store=remote, resume=True)
    assert not out.exists()
    hub.requests.clear()
    assert remotely(out, resume=True).read_bytes() == expected
    # The third may have come ahead before the end of the first conversion.
    assert {SHARDS[3]} <= {shard for shard, first, _ in ranges(hub) if first} <= set(SHARDS[2:])


def test_a_shard_with_a_wrong_checksum_ends_the_conversion(tmp_path, hub):
    with RemoteCheckpoint(NAME) as remote:
        hub.wrong.add("model-00002-of-00004.safetensors")
        with pytest.raises(
            GlmqError, match=r"model-00002-of-00004.safetensors has come with a wrong checksum"
        ):
            convert(remote.folder, tmp_path / "small.gguf", "q8_0", store=remote)
    assert not (tmp_path / "small.gguf").exists()


def test_a_repository_of_something_else(repository):
    for name in [name for name in repository if name.endswith(".safetensors")]:
        del repository[name]
    with pytest.raises(GlmqError, match=r"org/Small holds no \*.safetensors files"):
        RemoteCheckpoint(NAME)


# ---- the command


def test_the_command_converts_shard_by_shard(tmp_path, expected, cache, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = invoke("convert", REPO, "--remote")
    assert code == 0, err
    assert out.startswith("Small-Q8_0.gguf: ")
    assert [line for line in err.splitlines() if "shard" in line] == [
        f"downloading shard {i} of 4" for i in (1, 2, 3, 4)
    ]
    assert (tmp_path / "Small-Q8_0.gguf").read_bytes() == expected
    assert blobs(cache) == []


def test_a_file_that_is_there_is_told_before_the_download(tmp_path, hub):
    (tmp_path / "small.gguf").write_text("something else")
    code, _, err = invoke("convert", REPO, str(tmp_path / "small.gguf"))
    assert code == 2
    assert "is there already" in err
    assert hub.requests == []


def test_refusals(tmp_path):
    assert "is not a folder" in invoke("convert", str(tmp_path / "nothing"))[2]
    assert "is not a repository of the Hub" in invoke("convert", str(tmp_path), "--remote")[2]
    assert "no repository org/None" in invoke("convert", "org/None")[2]
