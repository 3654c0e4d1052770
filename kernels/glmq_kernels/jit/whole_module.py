"""Numba makes the module of a kernel and all functions that it calls at once.

By itself Numba treats each function as a program: it merges in what the function calls, optimizes the whole
and makes machine code of it, although only the kernel at the top is wanted. What lies deep is optimized again
with each function above it. Here functions stay as they are until the kernel asks for its module: then all
are put together and optimized once, which takes half of the time and makes no more instructions.

Only for compiler processes: no function that was compiled with it can be called.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import llvmlite.binding as llvm
from numba.core import codegen
from numba.core.registry import cpu_target


class WholeLibrary(codegen.JITCodeLibrary):  # type: ignore[misc]
    """The module of one function; finished, with all functions below it, when its text is wanted."""

    def add_linking_library(self, library: Any) -> None:
        """Note that this function calls those of another library."""
        self._linking_libraries.append(library)

    def get_pointer_to_function(self, name: str) -> int:
        """No address: nothing is run in the process that compiles."""
        return 0

    def get_llvm_str(self) -> str:
        """The optimized module as text."""
        self._ensure_finalized()
        return str(self._final_module)

    def finalize(self) -> None:
        """Put all functions together and optimize them."""
        for library in _below(self):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._optimize_final_module()
        self._final_module.verify()
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        """The function as it is, to be left out where nothing calls it."""
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == llvm.Linkage.external:
                function.linkage = "linkonce_odr"
        return self._final_module


class WholeCodegen(codegen.JITCPUCodegen):  # type: ignore[misc]
    """Numba's code generator with such libraries."""

    _library_class = WholeLibrary

    def set_env(self, env_name: str, env: Any) -> None:
        """Nothing: functions that are not run need no surroundings."""


@functools.cache
def compile_whole_modules() -> None:
    """Have Numba work so from now on, in this process."""
    context = cpu_target.target_context
    context.refresh()  # Numba's own functions, which it does call, come first
    context._internal_codegen = WholeCodegen("glmq")


def _below(library: Any) -> Iterator[Any]:
    """The libraries whose functions a library's call, through others too, each behind all that call it.

    The linker leaves out what nothing has asked for yet.
    """
    seen: dict[int, Any] = {}

    def visit(caller: Any) -> None:
        for called in getattr(caller, "_linking_libraries", ()):
            if id(called) not in seen:
                visit(called)
                seen[id(called)] = called

    visit(library)
    return reversed(seen.values())
