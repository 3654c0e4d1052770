"""A file on the Hub, read by ranges.

The Hub redirects who asks for a large file to a store elsewhere, with an address that is signed and ages. It
is kept while it works, and asked for again when it does not. The token is not sent there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from urllib.parse import quote, urljoin

import httpx2
from glmq_kernels.errors import GlmqError
from huggingface_hub import get_session, hf_raise_for_status

from .connection import ask, endpoint, errors_about, headers_for, timeout, trying_again
from .listing import RepoListing
from .model_choice import RepoFile

AGED = (401, 403, 404, 410)
"""What stores say of addresses that are too old."""


class Stopped(Exception):
    """Nobody wants the bytes any more."""


class RemoteFile:
    """A file of a repository at a commit. Reading is safe from any number of threads."""

    def __init__(self, listing: RepoListing, file: RepoFile) -> None:
        self.repo, self.file = listing.repo, file
        self.name = f"{listing.repo}/{file.path}"
        self._page = f"{endpoint()}/{listing.repo}/resolve/{listing.commit}/{quote(file.path)}"
        self._lock = threading.Lock()
        self._address: str | None = None

    def read(self, start: int, n_bytes: int, received: Callable[[int], None] = lambda n: None) -> bytes:
        """Bytes of the file, asked for again from where they were cut. Raises GlmqError if they do not come.

        received(n) is told of each portion that comes; an exception in it ends the reading.
        """
        buffer = bytearray()

        def attempt() -> bytes:
            if len(buffer) < n_bytes:
                self._receive(start, n_bytes, buffer, received)
            return bytes(buffer)

        n_seen = 0

        def progressed() -> bool:
            nonlocal n_seen
            n_before, n_seen = n_seen, len(buffer)
            return n_seen > n_before

        with errors_about(self.name, self.repo):
            return trying_again(attempt, progressed)

    def _receive(self, start: int, n_bytes: int, buffer: bytearray, received: Callable[[int], None]) -> None:
        first, last = start + len(buffer), start + n_bytes - 1
        address = self._located()
        headers = headers_for(address) | {"range": f"bytes={first}-{last}"}
        with get_session().stream("GET", address, headers=headers, timeout=timeout()) as response:
            if response.status_code in AGED and address != self._page:
                self._forget(address)
                raise httpx2.RemoteProtocolError(f"the store answers {response.status_code}")
            if response.status_code >= 400:
                response.read()
            hf_raise_for_status(response)
            self._check_range(response, first, last)
            for portion in response.iter_raw():
                buffer += portion
                received(len(portion))
                if len(buffer) > n_bytes:
                    raise GlmqError(f"{self.name}: more bytes come than were asked for; try again later")
        if len(buffer) < n_bytes:
            raise httpx2.RemoteProtocolError("the connection was cut")

    def _check_range(self, response: httpx2.Response, first: int, last: int) -> None:
        """Make sure that what comes is what was asked for: stores without ranges send the whole file."""
        wanted = f"bytes {first}-{last}/{self.file.size}"
        found = response.headers.get("content-range", "")
        whole = response.status_code == 200 and first == 0 and last == self.file.size - 1
        if not whole and (response.status_code != 206 or found.replace("/*", f"/{self.file.size}") != wanted):
            raise GlmqError(
                f"{self.name}: its store does not send the part that is asked for (it answers"
                f" {response.status_code} {found}); try again later, or set HF_ENDPOINT to another"
            )

    def _located(self) -> str:
        """Where the bytes are, asked for when it is not known."""
        with self._lock:
            if self._address is None:
                response = ask("HEAD", self._page)
                where = response.headers.get("location")
                self._address = urljoin(str(response.url), where) if where else str(response.url)
            return self._address

    def _forget(self, address: str) -> None:
        with self._lock:
            if self._address == address:
                self._address = None
