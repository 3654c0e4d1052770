"""/v1/models: the one model that there is, in OpenAI's form and in Anthropic's."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ...session import trained_context
from ..declared_route import get
from ..json_text import JsonResponse
from ..service import Service
from .answers import ModelList, ModelObject


async def list_models(request: Request) -> Response:
    """List the model, in Anthropic's form where the request has its version header."""
    service: Service = request.app.state.service
    if "anthropic-version" in request.headers:
        model = _anthropic(service, service.model_name)
        name = service.model_name
        return JsonResponse({"data": [model], "has_more": False, "first_id": name, "last_id": name})
    entry = {
        "slug": service.model_name,
        "name": service.model_name,
        "model": service.model_name,
        "display_name": service.model_name,
        "capabilities": ["completion", "tools", "thinking"],
        "context_window": service.model.n_ctx,
    }
    return JsonResponse({"object": "list", "data": [_openai(service, service.model_name)], "models": [entry]})


async def one_model(request: Request) -> Response:
    """Tell of the model, for which any name stands."""
    service: Service = request.app.state.service
    name = request.path_params["name"][:256]
    form = _anthropic if "anthropic-version" in request.headers else _openai
    return JsonResponse(form(service, name))


ROUTES = [
    get("/v1/models", list_models, ModelList),
    get("/models", list_models, ModelList),
    get("/v1/models/{name:path}", one_model, ModelObject),
]


def _openai(service: Service, name: str) -> dict[str, Any]:
    model = service.model
    return {
        "id": name,
        "object": "model",
        "created": service.started_at,
        "owned_by": "glmq",
        "aliases": [service.model_name],
        "max_model_len": model.n_ctx,
        "context_length": model.n_ctx,
        "meta": {
            "n_ctx": model.n_ctx,
            "n_ctx_train": trained_context(model.file, model.n_ctx),
            "n_vocab": model.n_vocab,
            "n_embd": model.file.metadata.get(f"{model.architecture}.embedding_length"),
            "n_params": sum(tensor.n_elements for tensor in model.file.tensors.values()),
            "size": model.file.n_bytes,
        },
    }


def _anthropic(service: Service, name: str) -> dict[str, Any]:
    created = datetime.fromtimestamp(service.started_at, timezone.utc).isoformat().replace("+00:00", "Z")
    return {"type": "model", "id": name, "display_name": name, "created_at": created}
