"""/openapi.json: what the server takes and gives, made from what its routes declare."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from .. import __version__
from .declared_route import Answered, DeclaredRoute, get
from .error_shapes import AnthropicError, OllamaError, OpenaiError, shape_of
from .json_text import JsonResponse

REFERENCE = "#/components/schemas/{model}"


async def description(request: Request) -> Response:
    """Describe all paths, in OpenAPI's form."""
    return JsonResponse(openapi(request.app.routes))


class OpenapiDocument(Answered):
    """A description of paths."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]


ROUTES = [get("/openapi.json", description, OpenapiDocument)]


def openapi(routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """The description of routes; those that declare nothing are left out."""
    declared = [route for route in routes if isinstance(route, DeclaredRoute)]
    models: set[type[BaseModel]] = {OpenaiError, AnthropicError, OllamaError}
    for route in declared:
        models.update(each for each in (route.body, route.answer) if each is not None)
    pairs: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [
        (model, "validation") for model in sorted(models, key=lambda each: each.__name__)
    ]
    names, schemas = models_json_schema(pairs, ref_template=REFERENCE)
    references = {model: names[model, mode] for model, mode in pairs}
    paths: dict[str, dict[str, Any]] = {}
    for route in declared:
        path = re.sub(r"{(\w+):\w+}", r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, path, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "glmq", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _operation(route: DeclaredRoute, path: str, references: dict[type[BaseModel], Any]) -> dict[str, Any]:
    answers = {"text/plain": {"schema": {"type": "string"}}}
    if route.answer is not None:
        answers = {"application/json": {"schema": references[route.answer]}}
    if route.stream is not None:
        answers[route.stream] = {"schema": {"type": "string"}}
    error = {"application/json": {"schema": references[shape_of(route.path)]}}
    operation: dict[str, Any] = {
        "summary": (route.endpoint.__doc__ or "").partition("\n")[0],
        "responses": {
            "200": {"description": "The answer.", "content": answers},
            "4XX": {"description": "What is wrong with the request.", "content": error},
            "5XX": {"description": "Why there is no answer.", "content": error},
        },
    }
    if names := re.findall(r"{(\w+)}", path):
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in names
        ]
    if route.body is not None:
        content = {"application/json": {"schema": references[route.body]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation
