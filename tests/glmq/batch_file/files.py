"""Batch files for tests."""

from __future__ import annotations

import json

from glmq.batch_file.requests import open_batch_file


def chat(custom_id, text="Hello", **body):
    """A request of a few greedy tokens, as a line of a batch file."""
    messages = [{"role": "user", "content": text}]
    given = {"messages": messages, "max_tokens": 4, "temperature": 0, **body}
    return line(custom_id, "/v1/chat/completions", given)


def line(custom_id, url, body, **more):
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body, **more})


def write(path, lines):
    path.write_text("".join(f"{each}\n" for each in lines), encoding="utf-8")
    return path


def batch_file(path, lines):
    """A context with the file."""
    return open_batch_file(write(path, lines))


def results_of(path):
    """By custom_id; each is there once."""
    results = [json.loads(each) for each in path.read_text(encoding="utf-8").splitlines()]
    found = {result["custom_id"]: result for result in results}
    assert len(found) == len(results)
    return found


def message(result):
    """What a chat completion says, thinking included."""
    said = result["response"]["body"]["choices"][0]["message"]
    return said.get("reasoning_content"), said["content"]
