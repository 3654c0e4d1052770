"""The compiler process: reads `kernel name <tab> object path` lines, answers each with a line.

The answer is `ok`, or `unwritable: ` or `failed: ` and the reason. Its argument is the level of
instructions, an `Isa` as JSON. Started by `compilation.py`; the only place in glmq that imports Numba at
run time.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding as llvm
from numba import cfunc, types

from . import isa
from .compilation import UNWRITABLE
from .object_file import write_object
from .store import ENTRY_POINT
from .whole_module import compile_whole_modules


def kernel_function(name: str) -> Callable[..., None]:
    """The Python function behind a kernel's name (see `store.py`)."""
    path, *parameters = name.split(":")
    module, _, function_name = path.rpartition(".")
    function = getattr(importlib.import_module(f"glmq_kernels.{module}"), function_name)
    return function(*parameters) if parameters else function  # type: ignore[no-any-return]


def compile_module(name: str) -> llvm.ModuleRef:
    """The optimized LLVM module of a kernel, with one exported function, `glmq_kernel`.

    From the first time on no function that Numba compiles in this process can be called (`whole_module.py`).
    """
    compile_whole_modules()
    function = kernel_function(name)
    parameters = [types.int64] * len(inspect.signature(function).parameters)
    compiled = cfunc(types.void(*parameters), error_model="numpy")(function)
    text = compiled.inspect_llvm()
    text = re.sub(rf'@"?{re.escape(compiled.native_name)}"?(?=\()', f"@{ENTRY_POINT}", text)
    level = isa.current()
    if level.triple:
        text = _for_another_machine(text, level)
    module = llvm.parse_assembly(text)
    for function in module.functions:
        if function.name != ENTRY_POINT and not function.is_declaration:
            function.linkage = "internal"
    return module


def _for_another_machine(text: str, level: isa.Isa) -> str:
    """A module's text with the intrinsics and the layout of a level's machine instead of this one's."""
    layout = isa.target_machine(level).target_data
    text = text.replace(isa.FOREIGN_PREFIX, "")
    text = re.sub('target triple = ".*"', f'target triple = "{level.triple}"', text)
    return re.sub('target datalayout = ".*"', f'target datalayout = "{layout}"', text)


def compile_to_file(name: str, path: Path) -> str:
    """Compile one kernel into its object file; gives the answer."""
    try:
        code = isa.target_machine(isa.current()).emit_object(compile_module(name))
    except Exception as error:
        traceback.print_exc()
        return f"failed: {error!r}"
    try:
        write_object(path, code)
    except OSError as error:
        return f"{UNWRITABLE}{error.strerror}"
    return "ok"


def main() -> None:
    """Serve requests on standard input until it ends."""
    # The kernels' order of instructions keeps in registers what belongs there; LLVM's scheduler, which
    # moves loads to the front, would not (a third more instructions, and half of the speed, in products).
    llvm.set_option("glmq", "-enable-misched=false")
    try:
        with isa.forced(isa.from_json(sys.argv[1])):
            for line in sys.stdin:
                name, path = line.rstrip("\n").split("\t", 1)
                print(compile_to_file(name, Path(path)).replace("\n", " "), flush=True)
    except BrokenPipeError:  # who asked is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
