"""Hundreds of requests in which something is wrong, made from right ones by chance: none harms the server."""

from __future__ import annotations

import copy
import json
import random

import pytest
from starlette.testclient import TestClient

from glmq.server.app import build_app

from .good_requests import BODIES
from .refusals import check

N_REQUESTS = 500
WRONG = (
    None, True, -1, 0, 10**30, -(10**30), 1.5, 1e308, float("nan"), float("inf"), "", "x", "\ud800", "é" * 99,
    [], [None], [[]], ["x", 1], {}, {"x": 1}, {"type": "x"}, [{}], [{"type": "x"}], {"role": "x"},
    [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}],
    {"type": "audio", "data": "x"}, ["x"] * 5000,
)  # fmt: skip
"""What is put in the place of a value."""


def places(value, path=()):
    """Paths to all values in a body."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def holder_of(body, place):
    for key in place[:-1]:
        body = body[key]
    return body


def with_another_value(body, place, chance):
    holder_of(body, place)[place[-1]] = chance.choice(WRONG)
    return json.dumps(body).encode()


def without_the_value(body, place, chance):
    del holder_of(body, place)[place[-1]]
    return json.dumps(body).encode()


def within_itself(body, place, chance):
    holder = holder_of(body, place)
    for _ in range(chance.choice((1, 5, 90, 250))):
        holder[place[-1]] = chance.choice(([holder[place[-1]]], {"x": holder[place[-1]]}))
    return json.dumps(body).encode()


def with_the_key_twice(body, place, chance):
    text = json.dumps(body)
    key = next((json.dumps(each) for each in reversed(place) if isinstance(each, str)), '"x"')
    return text.replace(f"{key}:", f"{key}: {json.dumps(chance.choice(WRONG))}, {key}:").encode()


def with_other_bytes(body, place, chance):
    data = bytearray(json.dumps(body).encode())
    at = chance.randrange(len(data))
    data[at : at + chance.randrange(3)] = chance.choice(
        (b"", b"\xff", b"\x00", b'"', b"{", b"1e400", b"\\ud800")
    )
    return bytes(data)


CHANGES = (
    *(with_another_value,) * 6, without_the_value, within_itself, with_the_key_twice, with_other_bytes,
)  # fmt: skip


def bad_requests(seed, n):
    """(path, body) of requests that are probably wrong."""
    chance = random.Random(seed)
    for _ in range(n):
        path, body = chance.choice(list(BODIES.items()))
        body = copy.deepcopy(body)
        yield path, chance.choice(CHANGES)(body, chance.choice(list(places(body))), chance)


@pytest.fixture(scope="module")
def client(demo_tools):
    """Talks to an application in this process."""
    app = build_app(demo_tools)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client
    app.state.service.close()


def refuse_all(client, caplog, seed, n):
    n_refused = sum(
        check(path, client.post(path, content=sent), sent) for path, sent in bad_requests(seed, n)
    )
    assert n_refused > n / 2
    assert not [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"]


def test_bad_requests_are_refused_or_do_no_harm(client, script, caplog):
    refuse_all(client, caplog, seed=14, n=N_REQUESTS)


@pytest.mark.slow
def test_many_more_bad_requests_are_refused_or_do_no_harm(client, script, caplog):
    refuse_all(client, caplog, seed=2026, n=10_000)
