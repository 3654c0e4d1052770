"""Files are written whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import time

import pytest
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import FileExists, check_target, is_being_written, replacing, write_file

from .notes_on_disk import KERNELS, NOTES, names, write

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
