"""The description of the API is true: what it allows is answered as told, what it forbids is refused."""

from __future__ import annotations

import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from glmq.server import unsupported
from glmq.server.app import ROUTES, build_app
from glmq.server.declared_route import DeclaredRoute
from glmq.server.openapi import openapi
from glmq.server.settings import ServerSettings

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
)
DECLARED = [route for route in ROUTES if isinstance(route, DeclaredRoute)]
FORBID_NOTHING = {
    f"{route.method} {route.path.replace(':path', '')}"
    for route in DECLARED
    if route.body is None or not route.body.model_fields
}
"""Operations that take anything."""


@pytest.fixture(scope="module")
def described(demo_tools):
    """The description, of an application in this process."""
    app = build_app(demo_tools, ServerSettings(allow_hosts=("testserver",)))
    yield schemathesis.openapi.from_asgi("/openapi.json", app)
    app.state.service.close()


def test_everything_that_is_supported_is_described():
    paths = openapi(ROUTES)["paths"]
    others = {"/", *unsupported.PATHS}
    assert {route.path.replace(":path", "") for route in ROUTES} - others == set(paths)
    assert all(operation["summary"] for path in paths.values() for operation in path.values())


def try_all(described, n_examples):
    for result in described.get_all_operations():
        operation = result.ok()
        try_operation(operation, GenerationMode.POSITIVE, n_examples)
        if operation.label not in FORBID_NOTHING:
            try_operation(operation, GenerationMode.NEGATIVE, n_examples)


def try_operation(operation, mode, n_examples):
    @hypothesis.settings(
        max_examples=n_examples, database=None, deadline=None, derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate],
    )  # fmt: skip
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def holds(case):
        case.call_and_validate(checks=CHECKS)

    holds()


def test_requests_made_from_the_description_are_answered_as_it_says(described, script):
    script.replies = ["</think>An answer."] * 10_000
    try_all(described, 2)


@pytest.mark.slow
def test_many_requests_made_from_the_description_are_answered_as_it_says(described, script):
    script.replies = ["</think>An answer."] * 100_000
    try_all(described, 100)
