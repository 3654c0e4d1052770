"""An MCP server that knows the older handshake alone and lists its tools on pages of one, for tests.

It is written without the mcp package, so that the bytes are those of the specification. With an
argument it writes that line before anything else.
"""

from __future__ import annotations

import json
import sys

NAMES = ("first", "second", "third")


def answer(method, params):
    if method == "initialize":
        information = {"name": "pages", "version": "1"}
        version = params["protocolVersion"]
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": information}
    if method == "tools/list":
        page = int(params.get("cursor") or 0)
        tools = [{"name": NAMES[page], "inputSchema": {"type": "object"}}]
        more = {"nextCursor": str(page + 1)} if page + 1 < len(NAMES) else {}
        return {"tools": tools, **more}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": f"{params['name']} was called"}]}
    return None


if sys.argv[1:]:
    print(sys.argv[1], flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if "id" in request:
        result = answer(request["method"], request.get("params", {}))
        outcome = {"result": result} if result else {"error": {"code": -32601, "message": "unknown method"}}
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **outcome}), flush=True)
