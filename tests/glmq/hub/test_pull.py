"""Downloading from a local server that speaks the Hub's endpoints."""

from __future__ import annotations

import hashlib
import threading

import pytest
from glmq_kernels.errors import GlmqError
from huggingface_hub import constants, hf_hub_download, scan_cache_dir

from glmq.hub import download, pull
from glmq.hub.cache import cached_model
from glmq.hub.names import hub_name
from glmq.hub.pull import plan_pull

from .local_hub import TOKEN

REPO = "unsloth/Air-GGUF"
CONTENT = bytes(range(256)) * 40
SPLIT = {f"Q8_0/air-Q8_0-0000{i}-of-00003.gguf": CONTENT[: 3000 * i] for i in (1, 2, 3)}


@pytest.fixture(autouse=True)
def repository(hub, monkeypatch):
    monkeypatch.setattr(download, "PIECE_BYTES", 1000)
    hub.repos[REPO] = {"air-Q4_K_M.gguf": CONTENT, "README.md": b"# Air", **SPLIT}
    return hub.repos[REPO]


def pulled(name=REPO, **more):
    return [path.read_bytes() for path in plan_pull(hub_name(name), **more).run()]


def refused(name=REPO):
    with pytest.raises(GlmqError) as caught:
        pulled(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def incomplete(cache):
    return list(cache.glob("*/blobs/*.incomplete"))


def test_a_model_comes_as_it_is(hub):
    assert pulled() == [CONTENT]
    assert len(hub.asked("store")) == -(-len(CONTENT) // 1000)


def test_all_parts_of_a_split_model_come_in_order():
    assert pulled(f"{REPO}:Q8_0") == list(SPLIT.values())


def test_other_programs_find_it_in_the_cache(hub, cache):
    [path] = plan_pull(hub_name(REPO)).run()
    hub.requests.clear()
    commit = hub.commit(REPO)
    assert hf_hub_download(REPO, "air-Q4_K_M.gguf", local_files_only=True) == str(path)
    assert path == cache / "models--unsloth--Air-GGUF" / "snapshots" / commit / "air-Q4_K_M.gguf"
    assert path.resolve().name == hashlib.sha256(CONTENT).hexdigest()
    assert not scan_cache_dir(cache).warnings
    assert hub.asked("hub", "HEAD") == []


def test_what_is_there_is_not_downloaded_again(hub):
    pulled()
    hub.requests.clear()
    plan = plan_pull(hub_name(REPO))
    assert (plan.missing, plan.n_bytes_missing) == ([], 0)
    plan.run()
    assert hub.asked("store") == []


def test_a_new_commit_costs_only_what_has_changed(hub):
    pulled()
    pulled(f"{REPO}:Q8_0")
    hub.requests.clear()
    hub.repos[REPO]["air-Q4_K_M.gguf"] = CONTENT[::-1]
    assert pulled() == [CONTENT[::-1]]
    assert pulled(f"{REPO}:Q8_0") == list(SPLIT.values())
    assert {path.split("?")[0] for path in hub.asked("store")} == {f"/{REPO}/air-Q4_K_M.gguf"}


def test_long_listings_come_in_pages(hub):
    hub.page = 2
    assert pulled(f"{REPO}:Q8_0") == list(SPLIT.values())
    assert len([path for path in hub.asked("hub") if "cursor" in path]) == 2


def test_revisions(hub):
    hub.revisions[REPO] = ["v1"]
    assert pulled(f"{REPO}@v1") == [CONTENT]
    assert pulled(f"{REPO}@{hub.commit(REPO)}") == [CONTENT]
    assert cached_model(hub_name(f"{REPO}@v1")).path.read_bytes() == CONTENT
    assert "no such revision" in refused(f"{REPO}@v2")
    assert "is not the name of a branch" in refused(f"{REPO}@../../main")


def test_repositories_that_have_another_name_now(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.renamed["old/name"] = REPO
    assert pulled("old/name") == [CONTENT]
    assert cached_model(hub_name("old/name")).path.read_bytes() == CONTENT


def test_companions_come_when_asked_for(repository):
    repository |= {"mmproj-F16.gguf": b"eyes", "mtp-air-Q8_0.gguf": b"mtp"}
    assert pulled() == [CONTENT]
    assert pulled(companions=["mtp", "mmproj"]) == [CONTENT, b"mtp", b"eyes"]
    del repository["mmproj-F16.gguf"]
    with pytest.raises(GlmqError, match="has no mmproj file"):
        plan_pull(hub_name(REPO), ["mmproj"])


def test_progress_counts_every_byte_once():
    told = []
    plan_pull(hub_name(f"{REPO}:Q8_0")).run(told.append)
    sizes = [len(content) for content in SPLIT.values()]
    assert (told[-1].n_done, told[-1].n_bytes, told[-1].n_before) == (sum(sizes), sum(sizes), 0)
    assert [each.n_done for each in told] == sorted(each.n_done for each in told)
    assert {each.doing for each in told} == {path.split("/")[1] for path in SPLIT}


# ---- the token


def test_the_token_goes_to_the_hub_alone(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.private.add(REPO)
    hub.page, hub.next_page_elsewhere = 1, True
    with pytest.raises(GlmqError):  # a page of the listing that leads away has nothing to give
        pulled()
    hub.next_page_elsewhere = False
    assert pulled() == [CONTENT]
    sent = {(each.host, each.headers.get("authorization")) for each in hub.requests}
    assert sent == {("hub", f"Bearer {TOKEN}"), ("store", None)}


def test_private_and_missing_repositories(hub, monkeypatch):
    hub.private.add(REPO)
    assert refused() == f"the Hub has no repository {REPO}; check the name; for a private one set HF_TOKEN"
    assert "no repository some/thing" in refused("some/thing")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert pulled() == [CONTENT]
    assert refused("some/thing") == "the Hub has no repository some/thing; check the name"


def test_gated_repositories(hub):
    hub.gated.add(REPO)
    assert f"accept them at {hub.url}/{REPO}" in refused()


# ---- networks


def test_cut_connections_go_on_where_they_were(hub):
    hub.cut = [500, 0, 700, 100]
    assert pulled() == [CONTENT]
    ranges = [each.headers["range"] for each in hub.requests if each.host == "store"]
    assert len(ranges) == -(-len(CONTENT) // 1000) + 4
    assert (
        len({each.split("=")[1].split("-")[0] for each in ranges}) == len(ranges) - 1
    )  # cut at 0: the same again


def test_stores_that_are_busy_are_asked_again(hub):
    hub.busy = 2
    assert pulled() == [CONTENT]


def test_what_came_before_a_failure_is_not_downloaded_again(hub, cache, monkeypatch):
    monkeypatch.setattr(download, "CONNECTIONS", 1)
    hub.cut = [1000] * 3 + [0] * 100
    assert "cannot be reached" in refused()
    [kept] = incomplete(cache)
    n_kept = kept.stat().st_size
    assert 0 < n_kept < len(CONTENT)
    assert plan_pull(hub_name(REPO)).n_bytes_missing == len(CONTENT) - n_kept
    hub.cut = []
    hub.requests.clear()
    told = []
    plan_pull(hub_name(REPO)).run(told.append)
    assert told[-1].n_before == n_kept
    starts = [int(each.headers["range"][6:].split("-")[0]) for each in hub.requests if each.host == "store"]
    assert min(starts) == n_kept
    assert pulled() == [CONTENT]
    assert incomplete(cache) == []


def test_ctrl_c_keeps_what_has_come(cache):
    plan = plan_pull(hub_name(REPO))
    real = download._pieces

    def interrupted(*arguments):
        for i, piece in enumerate(real(*arguments)):
            if i == 4:
                raise KeyboardInterrupt
            yield piece

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "_pieces", interrupted)
        with pytest.raises(KeyboardInterrupt):
            plan.run()
    assert [path.stat().st_size for path in incomplete(cache)] == [4000]
    assert pulled() == [CONTENT]


def test_addresses_that_have_aged_are_asked_for_again(hub):
    pulling = plan_pull(hub_name(REPO))
    remote = download.RemoteFile(pulling.listing, pulling.files[0])
    assert remote.read(0, 10) == CONTENT[:10]
    hub.n_refused = hub.n_signed
    assert remote.read(5, 10) == CONTENT[5:15]


def test_a_hub_that_is_not_there(hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert refused().startswith(f"{REPO} cannot be downloaded: 127.0.0.1:9 cannot be reached")


def test_a_page_of_something_else_in_the_place_of_the_hub(hub):
    hub.is_portal = True
    assert "does not answer as the Hub does" in refused()


def test_offline(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert refused() == f"{REPO} is not in the cache, and HF_HUB_OFFLINE keeps it from being downloaded"
    assert hub.requests == []


# ---- contents and disks


def test_wrong_bytes_are_noticed_and_thrown_away(hub, cache):
    hub.wrong.add("air-Q4_K_M.gguf")
    assert "wrong checksum" in refused()
    assert [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size] == []
    hub.wrong.clear()
    assert pulled() == [CONTENT]


def test_a_damaged_beginning_is_noticed(cache):
    plan = plan_pull(hub_name(REPO))
    kept = cache / "models--unsloth--Air-GGUF" / "blobs" / f"{plan.files[0].sha256}.incomplete"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"damaged")
    assert "wrong checksum" in refused()
    assert pulled() == [CONTENT]


def test_stores_that_know_no_ranges(hub):
    hub.no_ranges = True
    assert "does not send the part that is asked for" in refused()


def test_the_disk_is_looked_at_before(hub, monkeypatch):
    monkeypatch.setattr(pull, "ROOM_LEFT", 1 << 60)
    assert "has" in refused() and "free; make room there" in refused()
    assert hub.asked("store") == []


def test_a_disk_that_fills_up_keeps_what_has_come(cache, monkeypatch):
    class Full(download.FileIO):
        def write(self, content):
            if self.tell() >= 3000:
                raise OSError(28, "No space left on device")
            return super().write(content)

    with monkeypatch.context() as patch:
        patch.setattr(download, "FileIO", Full)
        assert "no room left" in refused()
    assert [path.stat().st_size for path in incomplete(cache)] == [3000]
    assert pulled() == [CONTENT]


def test_two_at_once_download_it_once(hub):
    plans = [plan_pull(hub_name(REPO)) for _ in range(2)]
    hub.requests.clear()
    threads = [threading.Thread(target=plan.run) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hub.asked("store")) == -(-len(CONTENT) // 1000)
    assert cached_model(hub_name(REPO)).path.read_bytes() == CONTENT


# ---- what is in the cache


def test_what_is_there_is_found_without_the_hub(hub, monkeypatch):
    pulled(f"{REPO}:Q8_0")
    hub.requests.clear()
    assert cached_model(hub_name(f"{REPO}:Q8_0")).files.n_parts == 3
    assert cached_model(hub_name(REPO)).files.tag == "Q8_0"  # the only one
    assert cached_model(hub_name(f"{REPO}:Q4_K_M")) is None
    assert hub.requests == []


def test_models_of_older_commits_are_found_too(hub):
    pulled()
    hub.repos[REPO] |= {"air-Q2_K.gguf": b"new", "air-Q4_K_M.gguf": b"newer"}
    pulled(f"{REPO}:Q2_K")
    assert cached_model(hub_name(f"{REPO}:Q4_K_M")).path.read_bytes() == CONTENT
    assert cached_model(hub_name(f"{REPO}@main:Q4_K_M")) is None


def test_models_that_lack_parts_are_not_there(cache):
    pulled(f"{REPO}:Q8_0")
    next(cache.rglob("*-00002-of-00003.gguf")).unlink()
    assert cached_model(hub_name(f"{REPO}:Q8_0")) is None
