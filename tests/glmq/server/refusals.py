"""How a request that is wrong is refused."""

from __future__ import annotations


def check(path, response, sent):
    """Whatever was sent is answered, or refused in the shape of the path's API."""
    assert response.status_code in (200, 400, 501), (response.status_code, response.text, sent)
    if response.status_code == 200:
        return False
    error = response.json()["error"]
    message = error if path.startswith("/api/") else error["message"]
    assert message and "\n" not in message and "Traceback" not in message
    if path.startswith("/v1/messages"):
        assert response.json()["type"] == "error" and error["type"].endswith("_error")
    elif not path.startswith("/api/"):
        assert set(error) >= {"message", "type", "param", "code"}
    return True
