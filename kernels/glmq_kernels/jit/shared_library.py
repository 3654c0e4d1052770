"""Linking: the object files of many kernels become one shared library, which the system itself loads.

    read       file header | program headers | hash table | symbols | names | relocations | constants
    execute    machine code
    write      dynamic section | global offset table: imports, then the others | data | zeros

The library has a symbol for each kernel, whose name is the kernel's. It depends on no other library: the
addresses of what kernels call outside (`pthread_mutex_lock`) are written by who loads it into the first
entries of the global offset table, from the symbol `IMPORTS` on. So there is no question which of a C
library's versions of a function is meant.

Source: System V ABI, chapter 5 (program loading and dynamic linking).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from .relocatable_elf import GLOBAL_OFFSET_TABLE, ObjectCode, Relocation, RelocationType, Symbol, read_elf

IMPORTS = "glmq_imports"
"""The symbol of the addresses that are to be filled in."""

_PAGE = 4096
_ENTRY = 8
_CODE_ALIGNMENT = 64
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_LOAD, _DYNAMIC, _STACK = 1, 2, 0x6474E551
_EXECUTE, _WRITE, _READ = 1, 2, 4
_GLOBAL_FUNCTION, _GLOBAL_OBJECT, _DEFINED = 0x12, 0x11, 1
_RELATIVE = 8
_DT_NULL, _DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_RELASZ, _DT_RELAENT = 0, 4, 5, 6, 7, 8, 9
_DT_STRSZ, _DT_SYMENT, _DT_RELACOUNT = 10, 11, 0x6FFFFFF9
_DYNAMIC_ENTRIES = 10


@dataclass(frozen=True)
class SharedLibrary:
    """A library's bytes, and the names whose addresses its loader writes to `IMPORTS`, in their order."""

    content: bytes
    imports: tuple[str, ...]


@dataclass
class _Segment:
    """Bytes that will lie together, from `start` on once that is known."""

    content: bytearray = field(default_factory=bytearray)
    start: int = 0

    def place(self, content: bytes, n_bytes: int, alignment: int) -> int:
        """Append content and zeros behind it; gives its offset."""
        self.content += bytes(-len(self.content) % alignment)
        offset = len(self.content)
        self.content += content + bytes(n_bytes - len(content))
        return offset


Key = tuple[int, str]
"""Of an entry of the global offset table: the object file that it is of, -1 for an import, and a name."""


def link(kernels: Mapping[str, bytes], entry_point: str) -> SharedLibrary:
    """One library of object files by the names of kernels, each with the function `entry_point`.

    Raises ValueError for object files that cannot be linked.
    """
    return _Linking({name: read_elf(code) for name, code in kernels.items()}, entry_point).result()


class _Linking:
    def __init__(self, objects: Mapping[str, ObjectCode], entry_point: str) -> None:
        self._names = list(objects)
        self._objects = list(objects.values())
        self._entry_point = entry_point
        self._constants, self._code, self._data = _Segment(), _Segment(), _Segment()
        self._sections: dict[tuple[int, int], tuple[_Segment, int]] = {}
        self._commons: dict[Key, int] = {}
        self._relative: list[tuple[int, int]] = []
        entries = dict.fromkeys(
            self._key(i, relocation.symbol)
            for i, code in enumerate(self._objects)
            for relocation in code.relocations
            if relocation.type == RelocationType.TABLE_ENTRY
        )
        self._imports = [key for key in entries if key[0] < 0]
        self._entries = {
            key: _ENTRY * i
            for i, key in enumerate([*self._imports, *(key for key in entries if key[0] >= 0)])
        }

    def result(self) -> SharedLibrary:
        """Place everything, write what depends on the places, and draw it all together."""
        dynamic_at = self._data.place(b"", 16 * _DYNAMIC_ENTRIES, 16)
        table_at = self._data.place(b"", _ENTRY * len(self._entries), 16)
        for i, code in enumerate(self._objects):
            self._place(i, code)
        relocations_at, tables_bytes = self._measure_tables()
        self._constants.start = -(-tables_bytes // _CODE_ALIGNMENT) * _CODE_ALIGNMENT
        self._code.start = _next_page(self._constants.start + len(self._constants.content))
        self._data.start = _next_page(self._code.start + len(self._code.content))
        self._table = self._data.start + table_at
        self._write_entries()
        for i, code in enumerate(self._objects):
            for relocation in code.relocations:
                self._relocate(i, relocation)
        tables = self._tables(relocations_at, dynamic_at)
        content = bytearray(self._data.start + len(self._data.content))
        content[: len(tables)] = tables
        for segment in (self._constants, self._code, self._data):
            content[segment.start : segment.start + len(segment.content)] = segment.content
        return SharedLibrary(bytes(content), tuple(name for _, name in self._imports))

    def _place(self, i: int, code: ObjectCode) -> None:
        for section in code.sections.values():
            segment, alignment = self._constants, section.alignment
            if section.executable:
                segment, alignment = self._code, max(alignment, _CODE_ALIGNMENT)
            elif section.writable:
                segment = self._data
            offset = segment.place(section.content, section.n_bytes, alignment)
            self._sections[i, section.index] = segment, offset
        for symbol in code.symbols:
            if symbol.common:
                self._commons[i, symbol.name] = self._data.place(b"", symbol.n_bytes, symbol.n_bytes or 1)

    def _key(self, i: int, symbol: Symbol) -> Key:
        is_here = symbol.common or symbol.section is not None
        return (i, symbol.name) if is_here else (-1, symbol.name)

    def _address(self, i: int, symbol: Symbol) -> int:
        if symbol.common:
            return self._data.start + self._commons[i, symbol.name]
        if symbol.name == GLOBAL_OFFSET_TABLE:
            return self._table
        if symbol.section is None:
            raise ValueError(
                f"{symbol.name!r} is wanted by its address, which is not known before it is loaded"
            )
        segment, offset = self._sections[i, symbol.section]
        return segment.start + offset + symbol.value

    def _write_entries(self) -> None:
        """Entries of the global offset table for what is in the library: addresses that move with it."""
        symbols = {
            (i, symbol.name): symbol for i, code in enumerate(self._objects) for symbol in code.symbols
        }
        for key, offset in self._entries.items():
            if key[0] >= 0:
                self._relative.append((self._table + offset, self._address(key[0], symbols[key])))

    def _relocate(self, i: int, relocation: Relocation) -> None:
        segment, offset = self._sections[i, relocation.section]
        offset += relocation.offset
        place, addend, symbol = segment.start + offset, relocation.addend, relocation.symbol
        if relocation.type == RelocationType.TABLE_ENTRY:
            value = self._entries[self._key(i, symbol)] + addend
        elif relocation.type == RelocationType.TABLE:
            value = self._table + addend - place
        elif relocation.type == RelocationType.TABLE_RELATIVE:
            value = self._address(i, symbol) + addend - self._table
        elif relocation.type == RelocationType.PLACE_RELATIVE:
            value = self._address(i, symbol) + addend - place
        else:
            value = self._address(i, symbol) + addend
            if segment is not self._data:
                raise ValueError(f"{symbol.name!r} is wanted by its address where nothing can be written")
            self._relative.append((place, value))
        struct.pack_into("<q", segment.content, offset, value)

    def _measure_tables(self) -> tuple[int, int]:
        """Where the relocations begin, and the bytes of all tables before the constants."""
        n_symbols = len(self._names) + 2
        names = sum(len(name.encode()) + 1 for name in [*self._names, IMPORTS]) + 1
        at = _HEADER.size + 5 * _PROGRAM_HEADER.size + 4 * (2 + 2 * n_symbols)
        at = -(-at // 8) * 8 + n_symbols * _SYMBOL.size + names
        at = -(-at // 8) * 8
        n_relative = sum(key[0] >= 0 for key in self._entries) + sum(
            relocation.type == RelocationType.ADDRESS
            for code in self._objects
            for relocation in code.relocations
        )
        return at, at + n_relative * _RELOCATION.size

    def _tables(self, relocations_at: int, dynamic_at: int) -> bytes:
        symbols, names = self._symbol_table()
        n_symbols = len(symbols) // _SYMBOL.size
        hash_at = _HEADER.size + 5 * _PROGRAM_HEADER.size
        hash_table = _hash_table([*self._names, IMPORTS])
        symbols_at = -(-(hash_at + len(hash_table)) // 8) * 8
        names_at = symbols_at + len(symbols)
        assert len(hash_table) == 4 * (2 + 2 * n_symbols)
        relocations = b"".join(_RELOCATION.pack(place, _RELATIVE, value) for place, value in self._relative)
        dynamic = (
            (_DT_HASH, hash_at), (_DT_STRTAB, names_at), (_DT_SYMTAB, symbols_at), (_DT_STRSZ, len(names)),
            (_DT_SYMENT, _SYMBOL.size), (_DT_RELA, relocations_at), (_DT_RELASZ, len(relocations)),
            (_DT_RELAENT, _RELOCATION.size), (_DT_RELACOUNT, len(self._relative)), (_DT_NULL, 0),
        )  # fmt: skip
        assert len(dynamic) == _DYNAMIC_ENTRIES
        for i, entry in enumerate(dynamic):
            struct.pack_into("<QQ", self._data.content, dynamic_at + 16 * i, *entry)
        tables = bytearray(relocations_at)
        headers = self._headers(dynamic_at, relocations_at + len(relocations))
        for at, content in ((0, headers), (hash_at, hash_table), (symbols_at, symbols), (names_at, names)):
            tables[at : at + len(content)] = content
        assert len(tables) == relocations_at
        return bytes(tables + relocations)

    def _symbol_table(self) -> tuple[bytes, bytes]:
        """The dynamic symbols and their names."""
        symbols, names = bytearray(_SYMBOL.size), bytearray(1)
        for i, (name, code) in enumerate(zip(self._names, self._objects, strict=True)):
            entry = next((symbol for symbol in code.symbols if symbol.name == self._entry_point), None)
            if entry is None:
                raise ValueError(f"the object file of {name} has no function {self._entry_point}")
            address = self._address(i, entry)
            symbols += _SYMBOL.pack(len(names), _GLOBAL_FUNCTION, 0, _DEFINED, address, entry.n_bytes)
            names += name.encode() + b"\0"
        n_bytes = _ENTRY * len(self._imports)
        symbols += _SYMBOL.pack(len(names), _GLOBAL_OBJECT, 0, _DEFINED, self._table, n_bytes)
        names += IMPORTS.encode() + b"\0"
        return bytes(symbols), bytes(names)

    def _headers(self, dynamic_at: int, tables_bytes: int) -> bytes:
        constants_end = self._constants.start + len(self._constants.content)
        dynamic = self._data.start + dynamic_at
        segments = (
            (_LOAD, _READ, 0, max(tables_bytes, constants_end), _PAGE),
            (_LOAD, _READ | _EXECUTE, self._code.start, len(self._code.content), _PAGE),
            (_LOAD, _READ | _WRITE, self._data.start, len(self._data.content), _PAGE),
            (_DYNAMIC, _READ | _WRITE, dynamic, 16 * _DYNAMIC_ENTRIES, 8),
            (_STACK, _READ | _WRITE, 0, 0, 16),
        )
        program_headers = b"".join(
            _PROGRAM_HEADER.pack(type_, flags, start, start, start, size, size, alignment)
            for type_, flags, start, size, alignment in segments
        )
        return _HEADER.pack(
            b"\x7fELF\x02\x01\x01" + bytes(9), 3, 62, 1, 0, _HEADER.size, 0, 0,
            _HEADER.size, _PROGRAM_HEADER.size, len(segments), 64, 0, 0,
        ) + program_headers  # fmt: skip


def _next_page(address: int) -> int:
    return -(-address // _PAGE) * _PAGE


def _hash_table(names: list[str]) -> bytes:
    """The hash table over the symbols, of which the first is none."""
    n_symbols = len(names) + 1
    buckets, chains = [0] * n_symbols, [0] * n_symbols
    for i, name in enumerate(names, 1):
        bucket = _hash(name) % n_symbols
        chains[i], buckets[bucket] = buckets[bucket], i
    return struct.pack(f"<{2 + 2 * n_symbols}I", n_symbols, n_symbols, *buckets, *chains)


def _hash(name: str) -> int:
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high & 0xFFFFFFFF
    return value
