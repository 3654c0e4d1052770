"""Tools: functions, commands and MCP servers that a model may call.

`load_tools` and `mcp_tools` give sources of tools, a `ToolBox` runs what is in them, and `run_rounds` lets a
model call until it answers:

with ToolBox([load_tools("tools.py"), mcp_tools("uvx mcp-server-time")]) as toolbox:
    run_rounds(messages, respond, toolbox, approve=lambda call: True)
"""

from __future__ import annotations

from .load import load_tools
from .mcp import mcp_tools
from .own_functions import function_tools
from .rounds import Call, ToolCallResult, fill_missing_results, run_rounds
from .tool import Tool, ToolFailed, ToolResult, ToolSource
from .toolbox import ToolBox

__all__ = [
    "Call",
    "Tool",
    "ToolBox",
    "ToolCallResult",
    "ToolFailed",
    "ToolResult",
    "ToolSource",
    "fill_missing_results",
    "function_tools",
    "load_tools",
    "mcp_tools",
    "run_rounds",
]
