"""Answers of Model Context Protocol servers, mended where they are a little wrong.

The package refuses an answer as a whole for one part that is not as the protocol wants it: all tools of a
server for one odd schema, a result for one block of a kind that it does not know. Here each part is kept that
a model for text can use.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from mcp.client._transport import ReadStream
    from mcp.shared.message import SessionMessage

NOT_SHOWN = "not shown: the model reads only text"
BLOCK_TEXTS = {"image": ("data", "mimeType"), "audio": ("data", "mimeType"), "resource_link": ("name", "uri")}
"""Texts that a block of a kind must have."""


class MendedStream:
    """What a server sends, with its answers mended."""

    def __init__(self, stream: ReadStream[SessionMessage | Exception]) -> None:
        self._stream = stream

    async def receive(self) -> SessionMessage | Exception:
        """The next message."""
        return _mended(await self._stream.receive())

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        return _mended(await self._stream.__anext__())

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(kind, error, trace)


def _mended(message: SessionMessage | Exception) -> SessionMessage | Exception:
    result = getattr(getattr(message, "message", None), "result", None)
    if isinstance(result, dict):
        mend_answer(result)
    return message


def mend_answer(result: dict[str, Any]) -> None:
    """Change a list of tools, or the result of a call, into one that the protocol allows."""
    if isinstance(result.get("tools"), list):
        result["tools"] = [_tool(each) for each in result["tools"] if _has_name(each)]
        if not isinstance(result.get("nextCursor"), (str, type(None))):
            del result["nextCursor"]
    elif "content" in result or "structuredContent" in result:
        blocks = result.get("content")
        result["content"] = [
            _block(each) for each in (blocks if isinstance(blocks, list) else [blocks]) if each
        ]
        result["isError"] = bool(result.get("isError"))
        structured = result.get("structuredContent")
        if not isinstance(structured, (dict, type(None))):
            text = json.dumps(result.pop("structuredContent"), ensure_ascii=False)
            result["content"].append({"type": "text", "text": text})


def _has_name(tool: object) -> bool:
    return isinstance(tool, Mapping) and isinstance(tool.get("name"), str) and bool(tool["name"].strip())


def _tool(given: Mapping[str, Any]) -> dict[str, Any]:
    """What of a tool's definition is used. The arguments of a call are an object whatever the schema says."""
    schema = given.get("inputSchema")
    texts = {key: given[key] for key in ("title", "description") if isinstance(given.get(key), str)}
    schema = {**schema, "type": "object"} if isinstance(schema, dict) else {"type": "object"}
    return {"name": given["name"], **texts, "inputSchema": schema}


def _block(given: object) -> dict[str, Any]:
    """A block of a result, or a text in its place."""
    if not isinstance(given, Mapping):
        return {"type": "text", "text": given if isinstance(given, str) else json.dumps(given)}
    kind = given.get("type")
    if kind == "text":
        text = given.get("text")
        return {
            "type": "text",
            "text": text if isinstance(text, str) else json.dumps(text, ensure_ascii=False),
        }
    if kind in BLOCK_TEXTS and all(isinstance(given.get(key), str) for key in BLOCK_TEXTS[kind]):
        return {"type": kind, **{key: given[key] for key in BLOCK_TEXTS[kind]}}
    resource = given.get("resource")
    if kind == "resource" and isinstance(resource, Mapping) and isinstance(resource.get("uri"), str):
        held = next(
            ((key, resource[key]) for key in ("text", "blob") if isinstance(resource.get(key), str)), None
        )
        if held:
            return {"type": "resource", "resource": {"uri": resource["uri"], held[0]: held[1]}}
    return {"type": "text", "text": f"[{kind if isinstance(kind, str) else 'a block'}, {NOT_SHOWN}]"}
