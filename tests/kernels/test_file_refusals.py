"""Places where no file is written: what is something else, and what cannot be written."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import FileExists, Kind, check_target

from .notes_on_disk import KERNELS, NOTES, names, refused, write


def test_another_kind_of_file_is_replaced_only_by_force(tmp_path):
    picture = tmp_path / "photo.png"
    picture.write_bytes(b"\x89PNG")
    with pytest.raises(FileExists, match=r"photo\.png is there already and is not a file of notes"):
        check_target(picture, NOTES)
    with pytest.raises(FileExists, match=r"photo\.png is there already; name another file"):
        check_target(picture)
    assert picture.read_bytes() == b"\x89PNG"
    write(picture, force=True)
    assert picture.read_bytes() == b"notes: new"


def test_a_file_that_cannot_be_understood_is_of_another_kind(notes):
    def fails(path):
        raise ValueError

    with pytest.raises(FileExists):
        check_target(notes, Kind("a file of notes", fails))


def kinds_of_places(folder):
    """Things in a folder that are no files, by what is said of them."""
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    here = socket.socket(socket.AF_UNIX)
    here.bind(str(folder / "socket"))
    here.close()
    return {"folder": "it is a folder", "pipe": "it is a pipe", "socket": "it is a socket"}


@pytest.mark.parametrize("force", (False, True))
def test_what_is_no_file_is_refused_and_untouched_even_by_force(tmp_path, monkeypatch, force):
    monkeypatch.chdir(tmp_path)  # names of sockets must be short
    for name, why in kinds_of_places(Path()).items():
        Path(f"link to {name}").symlink_to(name)
        for path in (Path(name), Path(f"link to {name}")):
            before = path.lstat()
            assert why in refused(path, force=force)
            assert path.lstat() == before
    assert len(names(tmp_path)) == 6


@pytest.mark.parametrize("kind", (stat.S_IFCHR, stat.S_IFBLK))
def test_a_device_is_refused_and_stays_one(tmp_path, kind):
    device = tmp_path / "device"
    numbers = (1, 3) if kind == stat.S_IFCHR else (7, 250)
    try:
        os.mknod(device, kind | 0o666, os.makedev(*numbers))
    except (OSError, AttributeError):
        pytest.skip("only the administrator can make devices")
    assert "it is a device" in refused(device, force=True)
    assert stat.S_IFMT(device.lstat().st_mode) == kind
    assert names(tmp_path) == ["device"]


@pytest.mark.parametrize("path", ("/dev/null", "/dev/full", "/dev/tty", "/proc/self/mem", "/proc/version"))
def test_places_of_the_system_are_refused(path):
    if not Path(path).exists():
        pytest.skip("not on this system")
    before = os.lstat(path).st_mode
    refused(Path(path))
    assert os.lstat(path).st_mode == before


def test_links_in_a_circle(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "links" in refused(tmp_path / "a")


def test_misspelt_folders_are_not_made(tmp_path, notes):
    assert f"there is no folder {tmp_path / 'nto'}" in refused(tmp_path / "nto" / "new")
    assert "not a folder" in refused(notes / "new")
    (tmp_path / "link").symlink_to("nowhere/file")
    assert f"there is no folder {tmp_path / 'nowhere'}" in refused(tmp_path / "link")
    assert names(tmp_path) == ["link", "notes"]


@pytest.mark.parametrize("name", ("n" * 256, "ü" * 128, "a\0b", "\ud800"))
def test_names_that_no_file_can_have(tmp_path, name):
    assert "cannot be written" in (line := refused(tmp_path / name)) or "not a name" in line
    assert names(tmp_path) == []


@pytest.mark.parametrize("path", (".", "..", "/", ""))
def test_folders_by_their_short_names(path):
    assert "it is a folder" in refused(Path(path))


def test_several_names_of_one_file_are_not_parted_unasked(tmp_path, notes):
    os.link(notes, tmp_path / "other")
    assert "has 2 names (hard links)" in refused(notes)
    write(notes, force=True)
    assert (tmp_path / "other").read_bytes() == b"notes: old"


def test_a_write_protected_file_stays_as_it_is(notes):
    notes.chmod(0o444)
    assert "write-protected" in refused(notes)
    write(notes, force=True)
    assert notes.read_bytes() == b"notes: new"
    assert stat.S_IMODE(notes.stat().st_mode) == 0o444


def as_nobody(code, *arguments):
    """Run a piece of Python without rights; gives what it prints."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only the administrator can become somebody else")
    done = subprocess.run(
        [sys.executable, "-c", f"import os, sys; from pathlib import Path\n{code}", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(KERNELS)},
        capture_output=True,
        text=True,
    )
    assert not done.stderr
    return done.stdout


REFUSED_TO_NOBODY = """
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import check_target
os.setgid(65534); os.setuid(65534)
try:
    check_target(Path(sys.argv[1]), force=True)
except GlmqError as error:
    print(error)
"""


def test_a_folder_in_which_one_may_not_write():
    with tempfile.TemporaryDirectory() as name:  # tmp_path is closed to others
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "notes").write_bytes(b"notes: old")
        for path in (folder / "new", folder / "notes"):
            assert "Permission denied" in as_nobody(REFUSED_TO_NOBODY, path)
        assert names(folder) == ["notes"]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only the administrator can mount disks")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(small_disk):
    write(small_disk / "notes", b"notes: old")
    with pytest.raises(GlmqError, match="notes cannot be written: No space left on device"):
        write(small_disk / "notes", b"notes" * 100_000)
    assert (small_disk / "notes").read_bytes() == b"notes: old"
    assert names(small_disk) == ["notes"]


def test_a_disk_that_is_read_only(small_disk):
    write(small_disk / "notes", b"notes: old")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "cannot be written" in refused(small_disk / "notes")
    assert "Read-only file system" in refused(small_disk / "new")
    assert names(small_disk) == ["notes"]


OWN_OUTPUT = """
import sys
from pathlib import Path
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import check_target
for name in sys.argv[1:]:
    try:
        check_target(Path(name), force=True)
    except GlmqError as error:
        print(error, flush=True)
"""


@pytest.mark.parametrize("name", ("out", "/dev/stdout", "/proc/self/fd/1"))
def test_what_the_program_prints_is_not_replaced_by_a_file(tmp_path, name):
    if not Path(name).exists() and name != "out":
        pytest.skip("not on this system")
    with open(tmp_path / "out", "wb") as out:
        subprocess.run(
            [sys.executable, "-c", OWN_OUTPUT, name],
            stdout=out, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(KERNELS)}, check=True,
        )  # fmt: skip
    assert "what this program prints goes there" in (tmp_path / "out").read_text()
    assert names(tmp_path) == ["out"]
