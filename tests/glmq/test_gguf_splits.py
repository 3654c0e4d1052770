from __future__ import annotations

import re
import shutil
import struct

import numpy as np
import pytest

from glmq.gguf import GGUFError, open_gguf

from .gguf_files import UINT16, gguf_bytes, key, tensor, write_small_model, write_split_model


@pytest.mark.parametrize("opened", [0, 1, 2])
def test_any_part_opens_the_whole_model(tmp_path, opened):
    paths = write_split_model(tmp_path)
    with open_gguf(paths[opened]) as file:
        assert file.path == paths[opened]
        assert file.paths == tuple(paths)
        assert list(file.tensors) == ["part.0", "part.1", "part.2"]
        assert [info.file_index for info in file.tensors.values()] == [0, 1, 2]
        for i in range(3):
            assert file.data(f"part.{i}").view(np.float32).tolist() == [i] * 8


def test_metadata_is_that_of_the_first_part(tmp_path):
    paths = write_split_model(tmp_path)
    with open_gguf(paths[2]) as file:
        assert file.text("general.architecture") == "llama"


def test_identity_is_the_same_from_every_part_and_changes_with_each(tmp_path):
    paths = write_split_model(tmp_path)
    identity = open_gguf(paths[0]).identity
    assert open_gguf(paths[2]).identity == identity
    paths[1].touch()
    assert open_gguf(paths[0]).identity != identity


def test_a_link_with_the_name_of_a_part_finds_its_neighbours(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    for path in write_split_model(tmp_path / "blobs"):
        try:
            (tmp_path / "snapshot" / path.name).symlink_to(path.rename(path.with_suffix("")))
        except OSError:
            pytest.skip("no symbolic links here")
    with open_gguf(tmp_path / "snapshot" / "model-00002-of-00003.gguf") as file:
        assert len(file.tensors) == 3


def test_missing_parts_are_named(tmp_path):
    paths = write_split_model(tmp_path, 5)
    paths[0].unlink()
    paths[3].unlink()
    with pytest.raises(
        GGUFError, match=r"5 parts; put model-00001-of-00005\.gguf, model-00004-of-00005\.gguf"
    ):
        open_gguf(paths[2])


def test_many_missing_parts_are_counted(tmp_path):
    paths = write_split_model(tmp_path, 9)
    for path in paths[1:]:
        path.unlink()
    with pytest.raises(GGUFError, match=r"00004-of-00009\.gguf and 5 more"):
        open_gguf(paths[0])


def test_a_renamed_part_is_told_its_name(tmp_path):
    paths = write_split_model(tmp_path)
    renamed = paths[1].rename(tmp_path / "second.gguf")
    with pytest.raises(GGUFError, match=r"part 2 of 3 .* ends in -00002-of-00003\.gguf"):
        open_gguf(renamed)


def test_swapped_parts_are_refused(tmp_path):
    paths = write_split_model(tmp_path)
    shutil.copy(paths[1], paths[2])
    with pytest.raises(GGUFError, match=r"model-00003-of-00003\.gguf: says it is part 2 of 3"):
        open_gguf(paths[0])


def test_a_damaged_part_is_named(tmp_path):
    paths = write_split_model(tmp_path)
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    with pytest.raises(GGUFError, match=r"model-00002-of-00003\.gguf: damaged or cut short"):
        open_gguf(paths[0])


def part(number: int, count: int, name: str) -> bytes:
    keys = [
        key("split.no", UINT16, struct.pack("<H", number)),
        key("split.count", UINT16, struct.pack("<H", count)),
        key("split.tensors.count", UINT16, struct.pack("<H", count)),
    ]
    return gguf_bytes(keys, [tensor(name)], bytes(16))


def test_a_tensor_in_two_parts_is_refused(tmp_path):
    for i in range(2):
        (tmp_path / f"m-0000{i + 1}-of-00002.gguf").write_bytes(part(i, 2, "same"))
    with pytest.raises(GGUFError, match="'same' is in 2 parts"):
        open_gguf(tmp_path / "m-00001-of-00002.gguf")


def test_too_few_tensors_are_refused(tmp_path):
    paths = write_split_model(tmp_path)
    keys = [
        key("split.no", UINT16, struct.pack("<H", 2)),
        key("split.count", UINT16, struct.pack("<H", 3)),
    ]
    paths[2].write_bytes(gguf_bytes(keys))
    with pytest.raises(GGUFError, match="2 tensors together, not 3"):
        open_gguf(paths[0])


def test_one_part_of_one_is_an_ordinary_file(tmp_path):
    [path] = write_split_model(tmp_path, 1)
    renamed = path.rename(tmp_path / "model.gguf")
    with open_gguf(renamed) as file:
        assert list(file.tensors) == ["part.0"]


def test_a_name_alone_does_not_make_a_split_model(tmp_path):
    path = tmp_path / "model-00001-of-00003.gguf"
    path.write_bytes(gguf_bytes([], [tensor()], bytes(16)))
    with open_gguf(path) as file:
        assert file.paths == (path,)


def joined(folder, paths, name="model.gguf"):
    (folder / name).write_bytes(b"".join(path.read_bytes() for path in paths))
    return folder / name


@pytest.mark.parametrize("name", ("model.gguf", "model-00001-of-00003.gguf", "other-00001-of-00009.gguf"))
def test_parts_joined_with_cat_get_the_way_out(tmp_path, name):
    (tmp_path / "parts").mkdir()
    parts = write_split_model(tmp_path / "parts")
    with pytest.raises(GGUFError, match="joined into one, as cat does.*llama-gguf-split --merge"):
        open_gguf(joined(tmp_path, parts, name))


def test_a_first_part_without_tensors_too(tmp_path):
    (tmp_path / "parts").mkdir()
    parts = write_split_model(tmp_path / "parts")
    parts[0].write_bytes(gguf_bytes([key("split.count", UINT16, struct.pack("<H", 3))]))
    with pytest.raises(GGUFError, match="joined into one"):
        open_gguf(joined(tmp_path, parts))


def test_two_whole_models_in_one_file(tmp_path):
    write_small_model(tmp_path / "a.gguf")
    with pytest.raises(GGUFError, match="several GGUF files"):
        open_gguf(joined(tmp_path, [tmp_path / "a.gguf"] * 2))


@pytest.mark.parametrize(
    ("pieces", "pattern"),
    [
        (("model.gguf.part1of2", "model.gguf.part2of2"), "model.gguf.part"),
        (("model.gguf-split-a", "model.gguf-split-b"), "model.gguf-split-"),
        (("model.gguf.001", "model.gguf.002"), "model.gguf."),
        (("model.gguf.aa", "model.gguf.ab"), "model.gguf."),
    ],
)
def test_pieces_that_cat_does_join(tmp_path, pieces, pattern):
    write_small_model(tmp_path / "whole.gguf")
    content = (tmp_path / "whole.gguf").read_bytes()
    for i, name in enumerate(pieces):
        (tmp_path / name).write_bytes(content[i * 700 :][: None if i else 700])
        with pytest.raises(GGUFError, match=re.escape(f"`cat {pattern}* > model.gguf`")):
            open_gguf(tmp_path / name)
    open_gguf(joined(tmp_path, [tmp_path / name for name in pieces])).close()
