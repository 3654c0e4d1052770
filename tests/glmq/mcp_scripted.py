"""An MCP server that says what a script has, for tests: `python mcp_scripted.py SCRIPT.json`.

The script is {"tools": [...], "results": {tool: result or {"error": ...}}, "before": [lines before each
result]}. A result that is "end" ends the server, and "silence" never comes. What was called is on standard
error. It is written without the mcp package, so that the bytes are those of the specification.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

script = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))


def send(identifier, **outcome):
    print(json.dumps({"jsonrpc": "2.0", "id": identifier, **outcome}), flush=True)


for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request or "method" not in request:
        continue
    method, parameters = request["method"], request.get("params", {})
    if method == "initialize":
        about = {"name": script.get("name", "scripted"), "version": "1"}
        version = parameters["protocolVersion"]
        capabilities = {"tools": {"listChanged": True}}
        result = {"protocolVersion": version, "capabilities": capabilities, "serverInfo": about}
        send(request["id"], result=result)
    elif method == "tools/list":
        page = {"nextCursor": script["cursor"]} if "cursor" in script else {}
        send(request["id"], result={"tools": script["tools"], **page})
    elif method == "tools/call":
        print(json.dumps(parameters["arguments"]), file=sys.stderr, flush=True)
        for before in script.get("before", ()):
            print(before if isinstance(before, str) else json.dumps(before), flush=True)
        result = script["results"][parameters["name"]]
        if result == "end":
            sys.exit(3)
        if result != "silence":
            send(request["id"], **(result if "error" in result else {"result": result}))
    else:
        send(request["id"], error={"code": -32601, "message": "unknown method"})
