"""Clients that send byte by byte, or more than they may, or never stop."""

from __future__ import annotations

import socket

import pytest

from .running_server import RunningServer

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def impatient(demo_tools):
    with RunningServer(
        demo_tools, header_seconds=0.3, body_seconds=0.3, max_body=1000, api_key="key"
    ) as running:
        yield running


@pytest.fixture
def connection(impatient):
    with socket.create_connection((impatient.host, impatient.port), timeout=30) as connection:
        yield connection


def all_that_comes(connection):
    """What the server sends until it closes the connection."""
    received = b""
    try:
        while part := connection.recv(1 << 16):
            received += part
    except ConnectionResetError:
        pass
    return received


@pytest.mark.parametrize("begun", (b"", b"GET", HEAD))
def test_a_request_whose_head_does_not_come_is_not_waited_for(connection, begun):
    connection.sendall(begun)
    assert all_that_comes(connection) == b""


def test_nor_is_a_second_one_on_the_same_connection(connection):
    connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea")
    assert all_that_comes(connection).count(b"HTTP/1.1 200") == 1


def test_a_body_that_does_not_come_is_told_so(connection):
    connection.sendall(HEAD + b"x-api-key: key\r\nContent-Length: 100\r\n\r\n{")
    assert b"408" in connection.recv(1 << 16)


@pytest.mark.parametrize("length", (b"Content-Length: 2000", b"Transfer-Encoding: chunked"))
def test_a_body_that_is_too_large_is_refused_while_it_comes(connection, length):
    connection.sendall(HEAD + b"x-api-key: key\r\n" + length + b"\r\n\r\n")
    chunk = b"x" * 600
    connection.sendall((b"258\r\n" + chunk + b"\r\n") * 2 if b"chunked" in length else chunk * 2)
    assert b"413" in connection.recv(1 << 16)


def send_for_ever(connection, data):
    while True:
        connection.sendall(data)


def test_the_body_of_a_request_that_is_refused_is_not_read_for_ever(connection):
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    assert b"401" in connection.recv(1 << 16)
    with pytest.raises(ConnectionError):
        send_for_ever(connection, b"1\r\nx\r\n" * 1000)


def test_a_head_without_end_is_refused(connection):
    connection.sendall(b"GET / HTTP/1.1\r\n")
    with pytest.raises(ConnectionError):
        send_for_ever(connection, b"x: " + b"x" * 10_000 + b"\r\n")
