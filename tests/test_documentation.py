"""What README and docs show works as it stands there; what they take from the program is as it has it."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys

import httpx
import pytest
from glmq_kernels.errors import GlmqError
from huggingface_hub import constants

import glmq
from glmq import cli
from glmq.chat.glm_template import glm_template
from glmq.chat.template import ChatTemplate
from glmq.chat.thinking import thinking_format
from glmq.cli import slash
from glmq.hub.names import hub_name
from glmq.hub.pull import plan_pull
from glmq.model import Model
from glmq.model_file import model_file
from glmq.server.app import ROUTES
from glmq.tools import ToolBox, load_tools, mcp_tools

from .glmq.hub.local_hub import LocalHub
from .glmq.server.running_server import RunningServer
from .glmq.small_models import write_glm4moe
from .glmq.test_command_line import ENVIRONMENT, ROOT

PAGES = {
    path.name: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"))
}
GLM_FILES = ("GLM-4.5-Air-Q4_0.gguf", "GLM-4.6-Q4_K_M.gguf", "GLM-4.7-Q4_K_M.gguf")

specification = importlib.util.spec_from_file_location("fill_chat_page", ROOT / "docs" / "fill_chat_page.py")
fill_chat_page = importlib.util.module_from_spec(specification)
specification.loader.exec_module(fill_chat_page)


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE)


FILES_OF_THE_DESIGN = sorted(set(re.findall(r"`([\w/]+\.py)`", PAGES["design.md"])))
SOURCES = [
    path.relative_to(ROOT).as_posix()
    for folder in ("glmq", "convert", "kernels", "tests", "bench", "examples")
    for path in (ROOT / folder).rglob("*.py")
]


@pytest.mark.parametrize("name", FILES_OF_THE_DESIGN)
def test_the_design_names_files_that_are_there(name):
    assert len([source for source in SOURCES if f"/{source}".endswith(f"/{name}")]) == 1


def test_the_design_shows_the_rooms_of_the_kernels():
    [listing] = re.findall(r"^jit/.*?(?=```)", PAGES["design.md"], re.DOTALL | re.MULTILINE)
    shown = {line.split("/")[0] for line in listing.splitlines()}
    assert shown == {path.parent.name for path in (ROOT / "kernels/glmq_kernels").glob("*/__init__.py")}


COMMANDS = [
    (page, line)
    for page in PAGES
    for block in blocks(page, "sh")
    for line in block.splitlines()
    if re.search(r"\bglmq ", line)
]
SERVERS = [(page, line) for page, line in COMMANDS if "glmq serve" in line]


@pytest.fixture(scope="module")
def demo_path():
    try:
        return model_file("demo")
    except GlmqError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def glm_files(tmp_path_factory):
    """Small random models, which are written to and read as their names tell."""
    folder = tmp_path_factory.mktemp("models")
    return [write_glm4moe(folder / name, "Q8_0", name=name[:7], n_ctx=4096) for name in GLM_FILES]


@pytest.fixture(scope="module")
def hub(glm_files, tmp_path_factory):
    """What the environment has to say so that repositories that the pages name hold small models."""
    names = [
        hub_name(name) for page in PAGES.values() for name in re.findall(r"glmq \w+ (unsloth/\S+)", page)
    ]
    cache = tmp_path_factory.mktemp("hub")
    with LocalHub() as local, pytest.MonkeyPatch.context() as patch:
        for name in filter(None, names):
            content = glm_files[0].read_bytes()
            local.repos.setdefault(name.repo, {})[f"model-{name.tag}.gguf"] = content
        patch.setattr(constants, "ENDPOINT", local.url)
        patch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
        plan_pull(hub_name("unsloth/GLM-4.5-Air-GGUF:Q4_K_M")).run()
        yield {"HF_ENDPOINT": local.url, "HF_HOME": str(cache)}


@pytest.fixture
def folder(tmp_path, demo_path, glm_files, hub, monkeypatch):
    """The current folder, with the files that the pages speak of and `glmq` and `python` on the path."""
    for variable, value in hub.items():
        monkeypatch.setenv(variable, value)
    (tmp_path / "demo.gguf").symlink_to(demo_path)
    for path in glm_files:
        (tmp_path / path.name).symlink_to(path)
    for page in (fill_chat_page.PAGE, ROOT / "docs" / "batch.md"):
        fill_chat_page.write_files(page, tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, arguments in (("python", '"$@"'), ("glmq", '-m glmq "$@"')):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}\n')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_commands():
    assert len(COMMANDS) >= 15


@pytest.mark.parametrize(("page", "line"), SERVERS)
def test_servers(page, line, folder):
    server = subprocess.Popen(
        f"exec {line} --port 0", shell=True, stderr=subprocess.PIPE, text=True,
        env=ENVIRONMENT | {"PATH": os.environ["PATH"]},
    )  # fmt: skip
    try:
        # Lines about kernels that are compiled may come before.
        url = next(found[0] for told in server.stderr if (found := re.search(r"http://[\d.]+:\d+", told)))
        assert httpx.get(f"{url}/health", timeout=300).json() == {"status": "ok"}
    finally:
        server.terminate()
        server.communicate()
    assert server.returncode == 0


@pytest.mark.parametrize(("page", "line"), [each for each in COMMANDS if each not in SERVERS])
def test_commands(page, line, folder):
    line = re.sub(r"glmq chat( [^-]\S*)?", r"\g<0> -n 20", line)
    done = subprocess.run(
        line, shell=True, input="Hello\n/quit\n", capture_output=True, text=True, timeout=300,
        env=ENVIRONMENT | {name: os.environ[name] for name in ("PATH", "HF_ENDPOINT", "HF_HOME")},
    )  # fmt: skip
    # a model of random weights may think up to the limit
    codes = (0, cli.NO_ANSWER) if "glmq chat" in line else (0,)
    assert done.returncode in codes, done.stderr
    written = re.search(r" > (\S+)", line)
    assert (folder / written[1]).read_text() if written else done.stdout + done.stderr


class Reply:
    """A guide that forces the tokens of a text."""

    def __init__(self, tokens):
        self._left = tokens

    @property
    def finished(self):
        return not self._left

    def forced(self):
        return list(self._left)

    def mask(self, logits):
        pass

    def accept(self, token):
        assert self._left.pop(0) == token


@pytest.fixture
def calling(monkeypatch):
    """Makes the models call the tool of the page once, where they may."""
    generate = Model.generate
    call = (
        "Days.</think><tool_call>days_between<arg_key>first</arg_key><arg_value>1969-07-20</arg_value>"
        "<arg_key>last</arg_key><arg_value>1989-11-09</arg_value></tool_call>"
    )
    replies = [call, "There are 7417.</think>7417 days."]

    def scripted(model, prompt, **arguments):
        if not isinstance(prompt, str) and "days_between" in model.detokenize(prompt):
            arguments["constraint"] = Reply(model.tokenizer.encode(replies.pop(0)))
        return generate(model, prompt, **arguments)

    monkeypatch.setattr(Model, "generate", scripted)


@pytest.mark.parametrize("page", ["README.md", "embedding.md"])
def test_python(page, folder, calling, capsys):
    names = {}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec", dont_inherit=True), names)
    out = capsys.readouterr().out
    assert "Paris" in out
    if page == "embedding.md":
        called = "days_between {'first': '1969-07-20', 'last': '1989-11-09'}\n-> 7417\n7417 days.\n"
        assert called in out
        assert re.search(r'"colour"\s*:\s*"(red|green|blue)"', out)
        assert int(re.search(r"(\d+) tokens were there already", out)[1]) >= 15


def test_clients_of_the_server(capsys):
    names = {}
    greedy = glmq.Sampling(temperature=0)
    with glmq.load("demo-tools") as model, RunningServer(model, sampling=greedy) as server:
        for block in blocks("serving.md", "python"):
            exec(block.replace("http://127.0.0.1:8080", server.url), names)
            assert "Paris" in capsys.readouterr().out


def test_types_of_the_examples(tmp_path):
    pytest.importorskip("mypy")
    shown = tmp_path / "shown.py"
    shown.write_text("\n".join(blocks("embedding.md", "python")), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "pyproject.toml", str(shown)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stdout


def test_tools(folder):
    (folder / "notes").write_text("a tall lighthouse\n")
    sources = [load_tools("tools.py"), load_tools("tools.json"), mcp_tools("python server.py")]
    with ToolBox(sources) as toolbox:
        assert toolbox.call("days_between", {"first": "2024-02-28", "last": "2024-03-01"}).text == "2"
        assert toolbox.call("find_text", {"text": "tall light"}).text.startswith("./notes:1:")
        assert toolbox.call("count_words", {"text": "two $words"}).text.strip() == "2"
        assert toolbox.call("roll", {"sides": 1}).text == "1"


@pytest.mark.parametrize("part", fill_chat_page.FILLS)
def test_parts_of_the_chat_page_are_the_programs(part):
    """python docs/fill_chat_page.py makes them anew."""
    if part == "chat":
        pytest.importorskip("pyte")
        pytest.importorskip("pexpect")
    [shown] = [found[3] for found in fill_chat_page.PART.finditer(PAGES["chat.md"]) if found[2] == part]
    given = fill_chat_page.FILLS[part]()
    assert without_seconds(shown) == without_seconds(given)


def without_seconds(text):
    return re.sub(r"thought for \d+ s", "thought", text)


SERVED = {route.path for route in ROUTES}
"""Paths that the server answers."""


@pytest.mark.parametrize("page", PAGES)
def test_named_options_and_commands_exist(page):
    options = [each for command in cli.COMMANDS for each in fill_chat_page.options_of(command)]
    names = {"--help"} | {name for option in options for name in (*option.opts, *option.secondary_opts)}
    texts = re.findall(r"`([^`\n]+)`", PAGES[page])
    told = [text for text in texts if "uvx" not in text and not text.startswith("python bench/")]
    for text in told:
        for name in re.findall(r"(?:^| )(--[a-z][\w-]*)", text):
            assert name in names, name
        if found := re.match(r"/[a-z][\w./-]*", text):
            assert found[0] in slash.COMMANDS or found[0] in SERVED, found[0]


def test_what_each_version_of_glm_can():
    [table] = re.findall(r"\| \| GLM-4\.5, 4\.6 \|.*?\n\n", PAGES["chat.md"], re.DOTALL)
    for column, name in ((2, "GLM-4.6"), (3, "GLM-4.7")):
        told = {
            row.split("|")[1].strip(): row.split("|")[column].strip() for row in table.splitlines()[2:] if row
        }
        form = thinking_format(ChatTemplate(glm_template(name)))
        assert told["can be switched, each turn"] == ("yes" if form.has_switch else "no")
        assert told["can keep the thinking of earlier turns"] == ("yes" if form.can_preserve else "no")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    folder = ROOT if page == "README.md" else ROOT / "docs"
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGES[page]):
        assert target.startswith("http") or (folder / target).exists(), target


def test_all_that_is_exported_is_there():
    for name in glmq.__all__:
        assert getattr(glmq, name) is not None
