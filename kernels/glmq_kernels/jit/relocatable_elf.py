"""Reading the object files that the code generator writes for Linux on x86-64: relocatable ELF.

Source: System V ABI, chapter 4 (object files), and its AMD64 supplement, 4.4 (relocation).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")

_MAGIC = b"\x7fELF\x02\x01\x01"
_RELOCATABLE, _X86_64 = 1, 62
_SYMBOL_TABLE, _RELOCATIONS, _NOBITS, _UNWIND = 2, 4, 8, 0x70000001
_WRITE, _ALLOCATE, _EXECUTE = 1, 2, 4
_UNDEFINED, _COMMON = 0, 0xFFF2
GLOBAL_OFFSET_TABLE = "_GLOBAL_OFFSET_TABLE_"


class RelocationType(IntEnum):
    """The relocations of position-independent code of the large code model. S: the symbol's address, A: the
    addend, P: the place's address, GOT: the table's address, G: the symbol's offset in it.
    """

    ADDRESS = 1  # S + A
    PLACE_RELATIVE = 24  # S + A - P
    TABLE_RELATIVE = 25  # S + A - GOT
    TABLE_ENTRY = 27  # G + A
    TABLE = 29  # GOT + A - P


@dataclass(frozen=True)
class Section:
    """A section that is in memory when the code runs; without its bytes where these are zeros."""

    index: int
    alignment: int
    n_bytes: int
    content: bytes
    writable: bool
    executable: bool


@dataclass(frozen=True)
class Symbol:
    """A name, where it is: in a section, in zeros of its own (`common`), or elsewhere (neither)."""

    name: str
    section: int | None
    value: int
    n_bytes: int
    common: bool = False


@dataclass(frozen=True)
class Relocation:
    """A number of 8 bytes in a section that depends on where things are."""

    section: int
    offset: int
    type: RelocationType
    symbol: Symbol
    addend: int


@dataclass(frozen=True)
class ObjectCode:
    """An object file."""

    sections: dict[int, Section]
    symbols: tuple[Symbol, ...]
    relocations: tuple[Relocation, ...]


def read_elf(code: bytes) -> ObjectCode:
    """The parts of an object file. Raises ValueError for what is none, or has unknown relocations."""
    if len(code) < _HEADER.size:
        raise ValueError("no ELF file")
    magic, kind, machine, _, _, _, sections_at, *_, n_sections, _ = _HEADER.unpack_from(code)
    if not magic.startswith(_MAGIC) or (kind, machine) != (_RELOCATABLE, _X86_64):
        raise ValueError("no relocatable ELF file for x86-64")
    headers = [_SECTION.unpack_from(code, sections_at + i * _SECTION.size) for i in range(n_sections)]
    sections = {}
    for index, (_, type_, flags, _, offset, size, _, _, alignment, _) in enumerate(headers):
        if flags & _ALLOCATE and size and type_ != _UNWIND:
            content = b"" if type_ == _NOBITS else code[offset : offset + size]
            sections[index] = Section(
                index, max(alignment, 1), size, content, bool(flags & _WRITE), bool(flags & _EXECUTE)
            )
    table = next(header for header in headers if header[1] == _SYMBOL_TABLE)
    symbols = _symbols(code, table, headers[table[6]])
    relocations = []
    for header in headers:
        if header[1] == _RELOCATIONS and header[7] in sections:
            relocations += _relocations(code, header, symbols)
    return ObjectCode(sections, tuple(symbols), tuple(relocations))


def _symbols(code: bytes, table: tuple[int, ...], strings: tuple[int, ...]) -> list[Symbol]:
    """table, strings: headers of sections."""
    texts = code[strings[4] : strings[4] + strings[5]]
    found = []
    for at in range(table[4], table[4] + table[5], _SYMBOL.size):
        name_at, _, _, section, value, size = _SYMBOL.unpack_from(code, at)
        name = texts[name_at : texts.index(b"\0", name_at)].decode()
        is_common = section == _COMMON
        place = None if is_common or section == _UNDEFINED else section
        found.append(Symbol(name, place, 0 if is_common else value, size, is_common))
    return found


def _relocations(code: bytes, header: tuple[int, ...], symbols: list[Symbol]) -> list[Relocation]:
    found = []
    for at in range(header[4], header[4] + header[5], _RELOCATION.size):
        offset, what, addend = _RELOCATION.unpack_from(code, at)
        symbol = symbols[what >> 32]
        try:
            type_ = RelocationType(what & 0xFFFFFFFF)
        except ValueError:
            raise ValueError(f"relocation {what & 0xFFFFFFFF} of {symbol.name!r} is not known") from None
        found.append(Relocation(header[7], offset, type_, symbol, addend))
    return found
