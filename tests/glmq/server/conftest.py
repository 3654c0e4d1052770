from __future__ import annotations

import pytest

import glmq
from glmq.demo import DEMOS
from glmq.model import Model
from glmq.tools import ToolBox, load_tools

from ..scripted_chat import Script
from .running_server import RunningServer


@pytest.fixture(scope="session")
def demo_tools():
    with glmq.load("demo-tools") as model:
        yield model


@pytest.fixture(scope="module")
def server(demo_tools):
    """Serves the demo with tools."""
    with RunningServer(demo_tools) as running:
        yield running


@pytest.fixture(scope="session")
def tools():
    """The tools of the demo, in the form of OpenAI's chat completions."""
    with ToolBox([load_tools(DEMOS["demo-tools"].tools)]) as box:
        yield box.definitions


@pytest.fixture
def script(monkeypatch):
    """What every model says from now on."""
    script = Script()
    monkeypatch.setattr(
        Model, "generate", lambda model, prompt, **more: script.generate(model, prompt, **more)
    )
    return script
