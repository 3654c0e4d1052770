"""The cache folder: machine code is taken from no folder and no file that another user could have written."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

import pytest
from glmq_kernels.errors import GlmqError
from glmq_kernels.jit import cache_folder as module
from glmq_kernels.jit import store
from glmq_kernels.jit.cache_folder import cache_folder, private_folder
from glmq_kernels.jit.object_file import read_object, write_object

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs owners and modes")
ME = os.getuid() if hasattr(os, "getuid") else 0
OTHER = ME + 1


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The system's temporary folder, with no other cache folder possible."""
    folder = tmp_path / "tmp"
    folder.mkdir(mode=0o777)
    monkeypatch.delenv("GLMQ_CACHE", raising=False)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(module, "_platform_folder", lambda: tmp_path / "file" / "glmq")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def platform_folder(tmp_path, monkeypatch, temporary):
    folder = tmp_path / "home" / ".cache" / "glmq"
    monkeypatch.setattr(module, "_platform_folder", lambda: folder)
    return folder


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


def test_the_usual_folder_is_made_for_this_user_alone(platform_folder):
    assert cache_folder() == platform_folder
    assert mode(platform_folder) == 0o700


def test_what_an_easy_going_umask_has_allowed_is_taken_back(platform_folder, monkeypatch):
    platform_folder.mkdir(parents=True)
    platform_folder.chmod(0o777)
    assert cache_folder() == platform_folder
    assert mode(platform_folder) == 0o755


def test_the_usual_folder_of_another_user_is_not_used(platform_folder, temporary, monkeypatch):
    cache_folder()
    owned_by_another(monkeypatch, platform_folder)
    assert cache_folder() == temporary / f"glmq-{ME}"


@pytest.mark.parametrize("writable", (0o777, 0o757, 0o702))
def test_a_chosen_folder_that_others_can_write_to_is_refused(tmp_path, monkeypatch, writable):
    chosen = tmp_path / "shared"
    chosen.mkdir()
    chosen.chmod(writable)
    monkeypatch.setenv("GLMQ_CACHE", str(chosen))
    with pytest.raises(GlmqError, match="written by others, .*chmod go-w.*GLMQ_CACHE") as caught:
        cache_folder()
    assert "\n" not in str(caught.value)
    assert mode(chosen) == writable


def test_a_chosen_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("GLMQ_CACHE", str(tmp_path))
    owned_by_another(monkeypatch, tmp_path)
    with pytest.raises(GlmqError, match="belongs to another user.*GLMQ_CACHE"):
        cache_folder()


def test_a_group_that_is_more_than_the_user_counts_as_others(tmp_path):
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o660)
    fields = list(path.stat())
    fields[stat.ST_UID] = fields[stat.ST_GID] = ME
    assert not module.others_may_write(os.stat_result(fields))
    fields[stat.ST_GID] = ME + 100
    assert module.others_may_write(os.stat_result(fields))


def test_a_chosen_folder_may_be_relative_or_a_link(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLMQ_CACHE", "relative")
    assert cache_folder() == tmp_path / "relative"
    (tmp_path / "link").symlink_to(tmp_path / "relative")
    monkeypatch.setenv("GLMQ_CACHE", str(tmp_path / "link"))
    assert cache_folder() == tmp_path / "link"


def test_the_temporary_folder_is_made_for_this_user_alone(temporary):
    assert cache_folder() == temporary / f"glmq-{ME}"
    assert mode(temporary / f"glmq-{ME}") == 0o700
    assert cache_folder() == temporary / f"glmq-{ME}", "and found again"


@pytest.mark.parametrize("found", (0o777, 0o755, 0o750, 0o770, 0o701))
def test_a_temporary_folder_that_others_can_enter_is_refused(temporary, found):
    folder = temporary / f"glmq-{ME}"
    folder.mkdir()
    folder.chmod(found)
    assert_refused(folder)


def test_a_temporary_folder_of_another_user_is_refused(temporary, monkeypatch):
    folder = temporary / f"glmq-{ME}"
    folder.mkdir(mode=0o700)
    owned_by_another(monkeypatch, folder)
    assert_refused(folder)


def test_a_link_in_place_of_the_temporary_folder_is_refused(temporary, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (temporary / f"glmq-{ME}").symlink_to(tmp_path / "elsewhere")
    assert_refused(temporary / f"glmq-{ME}")


def test_a_file_in_place_of_the_temporary_folder_is_refused(temporary):
    (temporary / f"glmq-{ME}").touch()
    with pytest.raises(GlmqError, match="no cache folder can be made.*GLMQ_CACHE"):
        cache_folder()


def assert_refused(folder):
    with pytest.raises(GlmqError, match="not a private folder.*delete it or set GLMQ_CACHE") as caught:
        cache_folder()
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_for_kernels_are_made_private(tmp_path, monkeypatch):
    monkeypatch.setenv("GLMQ_CACHE", str(tmp_path))
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels").chmod(0o777)
    folder = private_folder("kernels/avx2")
    assert folder == tmp_path / "kernels" / "avx2"
    assert (mode(folder), mode(folder.parent)) == (0o700, 0o755)


@pytest.mark.parametrize("place", ("kernels", "kernels/avx2"))
def test_folders_for_kernels_that_another_user_has_put_there_are_refused(tmp_path, monkeypatch, place):
    monkeypatch.setenv("GLMQ_CACHE", str(tmp_path))
    private_folder("kernels/avx2")
    owned_by_another(monkeypatch, tmp_path / place)
    with pytest.raises(GlmqError, match="belongs to another user"):
        private_folder("kernels/avx2")


def test_kernels_are_not_loaded_from_folders_that_others_can_write_to(tmp_path, monkeypatch):
    monkeypatch.setenv("GLMQ_CACHE", str(tmp_path))
    monkeypatch.setattr(store, "_loaded", {})
    tmp_path.chmod(0o777)
    with pytest.raises(GlmqError, match="can be written by others"):
        store.kernel("strings.kernel.walk")


def test_a_kernel_that_others_can_write_counts_as_not_there(tmp_path):
    path = tmp_path / "one.o"
    write_object(path, b"code")
    path.chmod(0o666)
    assert read_object(path) is None


def test_a_kernel_of_another_user_counts_as_not_there(tmp_path, monkeypatch):
    path = tmp_path / "one.o"
    write_object(path, b"code")
    status = os.fstat
    monkeypatch.setattr(os, "fstat", lambda file: given_away(status(file)))
    assert read_object(path) is None


def given_away(status):
    fields = list(status)
    fields[stat.ST_UID] = OTHER
    return os.stat_result(fields)


def owned_by_another(monkeypatch, folder):
    """Let the system say that a folder is another user's."""
    for name in ("stat", "lstat"):
        asked = getattr(Path, name)

        def answer(self, asked=asked, **how):
            status = asked(self, **how)
            return given_away(status) if self == folder else status

        monkeypatch.setattr(Path, name, answer)


def test_systems_without_owners_are_trusted(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(os, "getuid")
    monkeypatch.setenv("USERNAME", "ada")
    monkeypatch.delenv("GLMQ_CACHE", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "file").touch()
    monkeypatch.setattr(module, "_platform_folder", lambda: tmp_path / "file" / "glmq")
    assert cache_folder() == tmp_path / "glmq-ada"
    tmp_path.chmod(0o777)
    monkeypatch.setenv("GLMQ_CACHE", str(tmp_path))
    assert private_folder("kernels/avx2") == tmp_path / "kernels" / "avx2"
