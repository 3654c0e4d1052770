"""Files are written whole or not at all, and never over what is something else."""

from __future__ import annotations

import os
import random
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import (
    FileExists,
    Kind,
    check_target,
    is_being_written,
    replacing,
    write_file,
)

KERNELS = Path(__file__).parents[2] / "kernels"
NOTES = Kind("a file of notes", lambda path: path.read_bytes().startswith(b"notes"))


def write(path, content=b"notes: new", **how):
    write_file(check_target(path, NOTES, **how), content)


def refused(path, **how):
    """The one line with which a file is refused, before anything of it is written."""
    with pytest.raises(GlmqError) as refusal:
        check_target(path, NOTES, **how)
    line = str(refusal.value)
    assert "\n" not in line
    return line


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def notes(tmp_path):
    path = tmp_path / "notes"
    path.write_bytes(b"notes: old")
    return path


# What is written


def test_a_new_file_has_the_mode_that_any_new_file_has(tmp_path):
    write(tmp_path / "new")
    (tmp_path / "touched").touch()
    assert (tmp_path / "new").read_bytes() == b"notes: new"
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "touched").stat().st_mode
    assert names(tmp_path) == ["new", "touched"]


def test_a_private_file_is_for_its_owner_alone(tmp_path):
    with replacing(check_target(tmp_path / "new"), private=True) as unfinished:
        assert stat.S_IMODE(unfinished.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", (0o600, 0o640, 0o644, 0o666, 0o755))
def test_the_mode_of_a_file_is_kept(notes, mode):
    notes.chmod(mode)
    write(notes)
    assert stat.S_IMODE(notes.stat().st_mode) == mode


def test_the_owner_of_a_file_is_kept(notes):
    try:
        os.chown(notes, 12345, 23456)
    except PermissionError:
        pytest.skip("only the administrator can give files away")
    write(notes)
    assert (notes.stat().st_uid, notes.stat().st_gid) == (12345, 23456)


def test_a_file_loses_the_right_to_run_as_its_owner_as_with_any_write(notes):
    notes.chmod(0o4755)
    write(notes)
    assert stat.S_IMODE(notes.stat().st_mode) == 0o755


def test_attributes_of_the_user_are_kept(notes):
    try:
        os.setxattr(notes, "user.colour", b"red")
    except (AttributeError, OSError):
        pytest.skip("there are no such attributes here")
    write(notes)
    assert os.getxattr(notes, "user.colour") == b"red"


def test_a_link_stays_a_link_and_what_it_leads_to_is_replaced(tmp_path, notes):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to("../notes")
    (tmp_path / "outer").symlink_to("folder/link")
    write(tmp_path / "outer")
    assert notes.read_bytes() == b"notes: new"
    assert (tmp_path / "outer").is_symlink() and (tmp_path / "folder" / "link").is_symlink()


def test_a_link_to_nothing_yet_leads_to_the_new_file(tmp_path):
    (tmp_path / "link").symlink_to("later")
    write(tmp_path / "link")
    assert (tmp_path / "later").read_bytes() == b"notes: new"
    assert names(tmp_path) == ["later", "link"]


def test_an_empty_file_may_be_filled(tmp_path):
    (tmp_path / "empty").touch()
    write(tmp_path / "empty")
    assert (tmp_path / "empty").read_bytes() == b"notes: new"


@pytest.mark.parametrize("name", ("n" * 255, "ü" * 127, "[*?]", "-n", ".hidden", "two\nlines", "\udce4"))
def test_any_name_that_a_file_can_have(tmp_path, name):
    write(tmp_path / name)
    write(tmp_path / name, b"notes: again")
    assert names(tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == b"notes: again"


# What is refused


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


# What happens meanwhile


@pytest.mark.parametrize(
    "error", (OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("bug"))
)
def test_whatever_ends_the_writing_leaves_the_old_file_and_nothing_else(notes, error):
    def write_half():
        with replacing(check_target(notes, NOTES)) as unfinished:
            unfinished.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert notes.read_bytes() == b"notes: old"
    assert names(notes.parent) == ["notes"]


def test_what_another_program_writes_meanwhile_is_not_overwritten(tmp_path, notes):
    for path in (notes, tmp_path / "new"):
        with (
            pytest.raises(FileExists, match="written by another program meanwhile"),
            replacing(check_target(path, NOTES)),
        ):
            path.write_bytes(b"of another program")
        assert path.read_bytes() == b"of another program"
    with replacing(check_target(notes, force=True)) as unfinished:
        notes.write_bytes(b"of another program once more")
        unfinished.write_bytes(b"forced")
    assert notes.read_bytes() == b"forced"


def test_what_comes_to_the_place_meanwhile_and_is_no_file_stays(tmp_path, notes):
    def write_late():
        with replacing(check_target(notes, force=True)):
            notes.unlink()
            os.mkfifo(notes)

    with pytest.raises(FileExists):
        write_late()
    assert stat.S_ISFIFO(notes.lstat().st_mode)


def test_a_folder_that_goes_meanwhile_is_an_error_of_the_system(tmp_path):
    (tmp_path / "folder").mkdir()
    target = check_target(tmp_path / "folder" / "new")
    (tmp_path / "folder").rmdir()
    with pytest.raises(GlmqError, match="cannot be written: No such file or directory"):
        write_file(target, b"")


KILLED = """
import sys
from pathlib import Path
from glmq_kernels.files.file_writing import check_target, write_file
print("ready", flush=True)
i = 0
while True:
    i += 1
    write_file(check_target(Path(sys.argv[1]), force=True), b"%d\\n" % i * 40_000)
"""


def test_a_writer_that_is_killed_leaves_a_whole_file_and_the_next_one_tidies_up(tmp_path):
    path = tmp_path / "numbers"
    chance = random.Random(0)
    n_left = 0
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)],
            env={**os.environ, "PYTHONPATH": str(KERNELS)},
            stdout=subprocess.PIPE,
        )
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.03 + chance.random() / 30)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        if path.exists():
            assert len(set(path.read_bytes().split(b"\n")) - {b""}) == 1
        left = [name for name in names(tmp_path) if name != "numbers"]
        assert all(name.startswith(".numbers.") and name.endswith(".unfinished") for name in left)
        n_left += len(left)
        write_file(check_target(path, force=True), b"1\n" * 40_000)
        assert names(tmp_path) == ["numbers"]
    assert n_left, "no kill struck while a file was written"


def test_a_writer_at_work_is_seen_and_its_file_left_alone(notes):
    target = check_target(notes, force=True)
    assert not is_being_written(target)
    with replacing(target) as unfinished:
        assert is_being_written(target)
        write(notes, b"notes: of another writer")
        assert unfinished.exists()
        unfinished.write_bytes(b"notes: last")
    assert not is_being_written(target)
    assert notes.read_bytes() == b"notes: last"
