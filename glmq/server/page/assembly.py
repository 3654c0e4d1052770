"""One HTML file out of index.html, style.css and the modules in scripts/.

The modules are ordinary ES modules that import each other by single names. In the page each is a function
that gives what the module exports; they stand one behind another in one script, imported ones first.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from importlib.resources import files

IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";$', re.MULTILINE)
EXPORT = re.compile(r"^export ((?:async )?(?:const|class|function\*?) (\w+))", re.MULTILINE)


@dataclass(frozen=True)
class WholePage:
    """content: UTF-8. policy: the Content-Security-Policy, which lets only this style and script in."""

    content: bytes
    etag: str
    policy: str


@cache
def whole_page() -> WholePage:
    """The page as browsers get it."""
    folder = files(__package__)
    style = folder.joinpath("style.css").read_text("utf-8")
    modules = {
        file.name.removesuffix(".js"): file.read_text("utf-8")
        for file in sorted(folder.joinpath("scripts").iterdir(), key=lambda file: file.name)
        if file.name.endswith(".js")
    }
    script = one_script(modules)
    text = folder.joinpath("index.html").read_text("utf-8")
    text = text.replace("/* style.css */", style).replace("/* scripts */", script)
    content = text.encode()
    return WholePage(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"', _policy(style, script))


def one_script(modules: dict[str, str]) -> str:
    """Modules, by their names, as one script. Raises graphlib.CycleError where they import in a circle."""
    imported = {name: [module for _, module in IMPORT.findall(text)] for name, text in modules.items()}
    return "\n".join(_as_function(name, modules[name]) for name in TopologicalSorter(imported).static_order())


def _as_function(name: str, text: str) -> str:
    exported = ", ".join(found for _, found in EXPORT.findall(text))
    body = EXPORT.sub(r"\1", IMPORT.sub(r"const \1 = module_\2;", text))
    return f"const module_{name} = (() => {{\n{body}\nreturn {{ {exported} }};\n}})();\n"


def _policy(style: str, script: str) -> str:
    rules = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
