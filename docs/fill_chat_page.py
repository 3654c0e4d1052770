"""Fill in what chat.md takes from the program: tables of its commands and options, and a recorded chat.

python docs/fill_chat_page.py

Each part stands between `<!-- fill: NAME -->` and `<!-- end -->`. The recording drives the program in an
emulated terminal; the words are those of `REPLIES`, all else is as it is.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in (".", "kernels", "convert")]

from glmq.cli import main as program  # noqa: E402
from glmq.cli import slash  # noqa: E402
from glmq.cli.sampling_options import sampling_options  # noqa: E402
from glmq.sampling.from_text import NAMES  # noqa: E402
from glmq.sampling.recommendations import OF_GLM  # noqa: E402
from glmq.sampling.settings import Sampling  # noqa: E402

PAGE = Path(__file__).with_name("chat.md")
PART = re.compile(r"(<!-- fill: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
FILE = re.compile(r"^`([\w.-]+\.\w+)`[^\n]*:\n\n```\w+\n(.*?)```", re.DOTALL | re.MULTILINE)

COMMAND = ("chat", "scripted.gguf", "--tools", "tools.py", "--no-stats", "--ctx", "4096", "--threads", "2")
MODEL_NAME = "scripted GLM-4.7"
REPLIES = (
    "The user asks for a number of days. I am bad at dates, and there is a tool for them.</think>"
    "<tool_call>days_between<arg_key>first</arg_key><arg_value>1969-07-20</arg_value>"
    "<arg_key>last</arg_key><arg_value>1989-11-09</arg_value></tool_call>",
    "7417 days. With that I can answer.</think>"
    "There are **7417 days** between them:\n\n"
    "| date | what happened |\n|---|---|\n| 20 July 1969 | first people on the Moon |\n"
    "| 9 November 1989 | fall of the Berlin Wall |\n",
    "1059 weeks and 4 days.",
)
KEYS = (
    ("How many days lie between the Moon landing and the fall of the Wall?", "and why:"),
    ("y", ""),
    ("/nothink And in weeks?", ""),
    ("/thinking", ""),
    ("/undo", ""),
    ("/quit", None),
)
"""What is typed, and what is waited for: a text, a new prompt for an empty one, the end for None."""


def commands_table() -> str:
    """The slash commands."""
    rows = [(f"`{f'{name} {each.arguments}'.strip()}`", each.help) for name, each in slash.COMMANDS.items()]
    return _table(("command", "what it does"), rows)


def options_table() -> str:
    """The options of `glmq chat` but for those of sampling."""
    ours = {option.name for option in _sampling_options()}
    rows = [_row(each) for each in options_of("chat") if each.name not in ours]
    return _table(("option", "what it does", "default"), rows)


def sampling_table() -> str:
    """The options of sampling."""
    return _table(("option", "what it does", "default"), [_row(option) for option in _sampling_options()])


def recommended_table() -> str:
    """What suits each version of GLM."""
    fields = list(dict.fromkeys(field for settings in OF_GLM.values() for field in settings))
    names = {field: name for name, field in NAMES.items()}
    head = ("model", *(f"`--{names.get(field, field).replace('_', '-')}`" for field in fields))
    models = {f"GLM-{version}": settings for version, settings in OF_GLM.items()}
    models["others"] = {field: getattr(Sampling(), field) for field in fields}
    return _table(head, [(model, *(f"{own[field]:g}" for field in fields)) for model, own in models.items()])


def options_of(name: str) -> list[click.Option]:
    """All options of a command of the program."""
    command = program.get_command(click.Context(program), name)
    assert command
    return _options(command)


def recorded_chat() -> str:
    """A chat as an 80 columns wide terminal shows it."""
    from glmq_kernels.jit.cache_folder import cache_folder

    from tests.glmq.emulated_terminal import EmulatedTerminal
    from tests.glmq.small_models import write_glm4moe

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "kernels").symlink_to(cache_folder() / "kernels")
        (folder / "script.json").write_text(json.dumps({"replies": REPLIES}))
        write_files(PAGE, folder)
        write_glm4moe(folder / "scripted.gguf", "Q8_0", name=MODEL_NAME, n_ctx=4096)
        arguments = [str(folder / word) if word.endswith((".py", ".gguf")) else word for word in COMMAND]
        terminal = EmulatedTerminal(
            "scripted_chat.py", str(folder / "script.json"), *arguments, rows=60, GLMQ_CACHE=name
        )
        try:
            terminal.wait_for("\n>\n")
            for keys, awaited in KEYS:
                terminal.send(keys)
                terminal.wait_for(keys.split()[-1])
                terminal.send("\r")
                text = terminal.wait_until_over() if awaited is None else ""
                if awaited is not None:
                    terminal.wait_for(awaited or "\n>\n")
        finally:
            terminal.close()
    return f"```text\n$ {' '.join(('glmq', *COMMAND))}\n{text}\n```\n"


def write_files(page: Path, folder: Path) -> list[Path]:
    """Write the files that a page shows below their names into a folder."""
    paths = []
    for name, content in FILE.findall(page.read_text(encoding="utf-8")):
        paths.append(folder / name)
        paths[-1].write_text(content, encoding="utf-8")
    return paths


FILLS: dict[str, Callable[[], str]] = {
    "commands": commands_table,
    "options": options_table,
    "sampling": sampling_table,
    "recommended": recommended_table,
    "chat": recorded_chat,
}


def _sampling_options() -> list[click.Option]:
    return _options(click.command()(sampling_options(lambda: None)))


def _options(command: click.Command) -> list[click.Option]:
    return [each for each in command.params if isinstance(each, click.Option)]


def _row(option: click.Option) -> tuple[str, str, str]:
    """Names, help and default of an option. Most defaults are in the help's text."""
    names = [*option.opts, *option.secondary_opts]
    names[-1] += f" {option.metavar}" if option.metavar else ""
    text, _, default = (option.help or "").partition("[default: ")
    if option.show_default:
        default = f"{option.default:g}" if isinstance(option.default, float) else str(option.default)
    return ", ".join(f"`{name}`" for name in names), text.strip(), default.removesuffix("]")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    escaped = ([cell.replace("|", r"\|") for cell in row] for row in (head, ("---",) * len(head), *rows))
    return "".join(f"| {' | '.join(row)} |\n" for row in escaped)


def main() -> None:
    """Fill in all parts."""
    text = PART.sub(lambda part: part[1] + FILLS[part[2]]() + part[4], PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
