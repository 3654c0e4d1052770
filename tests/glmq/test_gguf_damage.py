"""Random damage to a small file: it is refused with one line, or read; nothing else happens."""

from __future__ import annotations

import random
import struct
import tracemalloc

import pytest

from glmq.gguf import GGUFError, StringArray, open_gguf

from .gguf_files import write_small_model

N_DAMAGED = 1000
MOST_MEMORY = 1 << 20
EXTREMES = [
    0,
    1,
    0x7F,
    0xFFFF,
    0x7FFFFFFF,
    0xFFFFFFFF,
    1 << 32,
    1 << 40,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
]


def some_bytes(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 8)):
        content[chance.randrange(len(content))] = chance.randrange(256)


def one_bit(content: bytearray, chance: random.Random) -> None:
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def a_number(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content) - 8)
    content[at : at + 8] = struct.pack("<Q", chance.choice(EXTREMES))


def cut_short(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


def bytes_lost(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    del content[at : at + chance.randint(1, 64)]


def bytes_repeated(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    content[at:at] = content[at : at + chance.randint(1, 64)]


def zeroed(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    end = min(len(content), at + chance.randint(1, 256))
    content[at:end] = bytes(end - at)


DAMAGES = [some_bytes, one_bit, a_number, cut_short, bytes_lost, bytes_repeated, zeroed]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "sound.gguf"
    write_small_model(path)
    open_gguf(path).close()  # the string walker is compiled here, not below
    content = path.read_bytes()
    return content, content.index(b"half.weight") + 64


def read_everything(path) -> None:
    with open_gguf(path) as file:
        for value in file.metadata.values():
            if isinstance(value, StringArray):
                assert len(value.to_list()) == len(value)
        for name, info in file.tensors.items():
            assert file.data(name).tobytes()
            assert info.n_bytes == file.data(name).nbytes


def is_read(path, seed: int) -> bool:
    """Whether the file is read; False when it is refused with one line."""
    try:
        read_everything(path)
    except GGUFError as refusal:
        message = str(refusal)
    except Exception as error:
        raise AssertionError(f"seed {seed}: {error!r}") from error
    else:
        return True
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return False


def test_damaged_files_are_refused_or_read(tmp_path, sound):
    content, header_size = sound
    path = tmp_path / "damaged.gguf"
    n_refused = 0
    tracemalloc.start()
    try:
        for seed in range(N_DAMAGED):
            chance = random.Random(seed)
            # Most of the damage goes where it can do harm.
            n_header = header_size if chance.random() < 0.9 else len(content)
            header, rest = bytearray(content[:n_header]), content[n_header:]
            chance.choice(DAMAGES)(header, chance)
            path.write_bytes(header + rest)
            tracemalloc.reset_peak()
            n_refused += not is_read(path, seed)
            assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY, f"seed {seed}"
    finally:
        tracemalloc.stop()
    assert 0.3 * N_DAMAGED < n_refused < N_DAMAGED


def test_every_shorter_file_is_refused(tmp_path, sound):
    content, _ = sound
    path = tmp_path / "short.gguf"
    with open_gguf_of(path, content) as file:
        last = max(file.tensors.values(), key=lambda info: info.offset)
        needed = last.offset + last.n_bytes
    for size in range(0, needed, 7):
        path.write_bytes(content[:size])
        with pytest.raises(GGUFError):
            open_gguf(path)


def open_gguf_of(path, content: bytes):
    path.write_bytes(content)
    return open_gguf(path)
