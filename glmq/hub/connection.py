"""Requests to the Hub: the token goes there alone, what passes is tried again, errors are told in a line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import httpx2
from glmq_kernels.errors import GlmqError
from huggingface_hub import constants, get_session, get_token, hf_raise_for_status
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

T = TypeVar("T")
RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""How long to wait before each further try."""

FEW_TRIES = 2
"""Of a request before which nothing has come yet: whoever has no network wants to know it soon."""

PASSING = (408, 429, 500, 502, 503, 504)
"""Statuses that may be others in a moment."""

MAX_REDIRECTS = 10


class RepositoryMissing(GlmqError):
    """The Hub has no repository of a name, or does not show it to this user."""


class HubUnreachable(GlmqError):
    """No answer came from the Hub, or none was asked for because the program is offline."""


def endpoint() -> str:
    """The address of the Hub, without a slash at its end."""
    return constants.ENDPOINT


def headers_for(url: str) -> dict[str, str]:
    """Headers of a request: the user's token goes to the Hub alone."""
    headers = {"user-agent": "glmq", "accept-encoding": "identity"}
    if _origin(url) == _origin(endpoint()) and not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        token = get_token()
        if token:
            headers["authorization"] = f"Bearer {token}"
    return headers


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def ask(method: str, url: str) -> httpx2.Response:
    """The answer to a request. Redirects are followed; to HEAD one that leads away is the answer."""

    def once() -> httpx2.Response:
        where = url
        for _ in range(MAX_REDIRECTS):
            response = get_session().request(
                method, where, headers=headers_for(where), follow_redirects=False, timeout=timeout()
            )
            hf_raise_for_status(response)
            if not response.has_redirect_location:
                return response
            target = urljoin(where, response.headers["location"])
            if method == "HEAD" and _origin(target) != _origin(endpoint()):
                return response
            where = target
        raise GlmqError(f"{url} leads from one address to the next without end")

    return trying_again(once, tries=FEW_TRIES)


def timeout() -> float:
    """Seconds without a byte after which a connection counts as cut."""
    return float(constants.HF_HUB_DOWNLOAD_TIMEOUT)


def trying_again(
    attempt: Callable[[], T], progressed: Callable[[], bool] = lambda: False, tries: int | None = None
) -> T:
    """What an attempt gives, made again after errors that pass, at most `tries` times.

    progressed(): whether something has come since the last failure, which begins the count anew.
    """
    delays = RETRY_SECONDS[:tries]
    n_failed = 0
    while True:
        try:
            return attempt()
        except (httpx2.TransportError, HfHubHTTPError) as error:
            n_failed = 0 if progressed() else n_failed
            if not _passes(error) or n_failed >= len(delays):
                raise
        time.sleep(delays[n_failed])
        n_failed += 1


def _passes(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response is not None and error.response.status_code in PASSING
    return not isinstance(error, httpx2.UnsupportedProtocol)


@contextmanager
def errors_about(name: str, repo: str) -> Iterator[None]:
    """Tell what goes wrong in a line. name: of what is asked for; repo: the repository of it."""
    try:
        yield
    except OfflineModeIsEnabled:
        raise HubUnreachable(
            f"{name} is not in the cache, and HF_HUB_OFFLINE keeps it from being downloaded"
        ) from None
    except GatedRepoError:
        raise GlmqError(
            f"{repo} is for those who have accepted its terms: accept them at {endpoint()}/{repo}, then set"
            " HF_TOKEN to a token of yours"
        ) from None
    except RepositoryNotFoundError:
        private = "" if get_token() else "; for a private one set HF_TOKEN"
        raise RepositoryMissing(f"the Hub has no repository {repo}; check the name{private}") from None
    except RevisionNotFoundError:
        raise GlmqError(f"{repo} has no such revision: {name}", setting="revision") from None
    except HfHubHTTPError as error:
        raise GlmqError(f"{name} cannot be downloaded: {_told(error)}") from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        what = str(error) or type(error).__name__
        raise HubUnreachable(
            f"{name} cannot be downloaded: {urlsplit(endpoint()).netloc or endpoint()} cannot be reached"
            f" ({what}); what has come is kept, try again"
        ) from None


def _told(error: HfHubHTTPError) -> str:
    status = error.response.status_code if error.response is not None else 0
    if status == HTTPStatus.UNAUTHORIZED:
        return "the token is not valid; set HF_TOKEN to another, or to none"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "the Hub has had too many requests from here; wait some minutes, or set HF_TOKEN"
    reason = error.response.reason_phrase if error.response is not None else ""
    return f"the Hub answers {status} {reason}".rstrip() + ("; try again later" if status >= 500 else "")
