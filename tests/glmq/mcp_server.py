"""A Model Context Protocol server over stdio, for tests. Its first argument is its name."""

from __future__ import annotations

import os
import sys
import time

from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import EmbeddedResource, ResourceLink, TextContent, TextResourceContents

server = MCPServer(sys.argv[1] if len(sys.argv) > 1 else "test server", log_level="ERROR")


@server.tool()
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def upper(text: str) -> str:
    """Capital letters."""
    return text.upper()


@server.tool()
def many() -> list[str]:
    """Several texts."""
    return ["one", "zwölf"]


@server.tool(structured_output=False)
def picture() -> Image:
    """An image."""
    return Image(data=b"1234", format="png")


@server.tool(structured_output=False)
def resources() -> list[TextContent | ResourceLink | EmbeddedResource]:
    """A link and a text."""
    return [
        ResourceLink(name="notes", uri="file:///notes.txt"),
        EmbeddedResource(resource=TextResourceContents(uri="file:///a.txt", text="inside")),
    ]


@server.tool(structured_output=False)
def nothing() -> None:
    """Nothing at all."""


@server.tool()
def fail(why: str) -> str:
    """Raise an error."""
    raise ToolError(why)


@server.tool()
def sleep(seconds: float) -> str:
    """Wait."""
    time.sleep(seconds)
    return "awake"


@server.tool()
def die(last_words: str) -> str:
    """End the server."""
    print(last_words, file=sys.stderr, flush=True)
    os._exit(3)


@server.tool()
def process() -> int:
    """The server's process."""
    return os.getpid()


@server.tool()
def environment(name: str) -> str:
    """A variable of the environment."""
    return os.environ.get(name, "")


if __name__ == "__main__":
    server.run()
