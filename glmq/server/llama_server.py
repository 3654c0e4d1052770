"""What llama-server has beside OpenAI's API: tokens, templates, its state, and filling in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import RootModel
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from .. import __version__
from .api_error import ApiError, BadRequest
from .declared import Declared, TokenId
from .declared_route import Answered, get, post
from .json_text import JsonResponse
from .openai.chat_request import ChatBody, read_chat
from .preparation import prompt_text
from .request_body import read_body
from .service import Service

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer


class TokenizeBody(Declared):
    """A text. add_special: with the token that begins texts. parse_special: names of tokens are these."""

    content: str
    add_special: bool | None = None
    parse_special: bool | None = None
    with_pieces: bool | None = None


class DetokenizeBody(Declared):
    """Token ids."""

    tokens: list[TokenId]


class Health(Answered):
    """That all is well."""

    status: Literal["ok"]


class Properties(Answered):
    """The model and its settings."""

    default_generation_settings: dict[str, Any]
    total_slots: int
    model_path: str
    model_alias: str
    chat_template: str
    build_info: str


class Slots(RootModel[list[dict[str, Any]]]):
    """Which answers are being given."""


class Tokens(Answered):
    """Token ids, or with their pieces of text."""

    tokens: list[int | dict[str, Any]]


class Content(Answered):
    """A text."""

    content: str


class PromptText(Answered):
    """The text of a prompt."""

    prompt: str


async def health(request: Request) -> Response:
    """Tell whether requests are answered."""
    service: Service = request.app.state.service
    if service.is_ending:
        raise ApiError(503, "the server is shutting down", code="shutting_down")
    return JsonResponse({"status": "ok"})


async def properties(request: Request) -> Response:
    """Tell of the model and its settings."""
    service: Service = request.app.state.service
    model = service.model
    sampling = service.sampling
    settings = {
        "n_ctx": model.n_ctx,
        "params": {
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "repeat_penalty": sampling.repeat_penalty,
        },
    }
    return JsonResponse(
        {
            "default_generation_settings": settings,
            "total_slots": service.admission.n_slots,
            "model_path": model.path.name,
            "model_alias": service.model_name,
            "chat_template": model.chat_template.source,
            "modalities": {"vision": False, "audio": False},
            "build_info": f"glmq {__version__}",
            "is_sleeping": False,
        }
    )


async def slots(request: Request) -> Response:
    """Tell which answers are being given."""
    service: Service = request.app.state.service
    admission = service.admission
    if request.query_params.get("fail_on_no_slot") and admission.n_busy == admission.n_slots:
        raise ApiError(503, "no slot is free", code="no_slot")
    busy = set(admission.busy)
    return JsonResponse(
        [
            {"id": number, "n_ctx": service.model.n_ctx, "is_processing": number in busy}
            for number in range(admission.n_slots)
        ]
    )


async def metrics(request: Request) -> Response:
    """Tell figures, as Prometheus reads them."""
    service: Service = request.app.state.service
    text = service.metrics.text(service.admission, service.model.kv_cache)
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


async def tokenize(request: Request) -> Response:
    """Turn a text into tokens."""
    service: Service = request.app.state.service
    body = await read_body(request, TokenizeBody)
    tokenizer = service.model.tokenizer

    def encode() -> list[int]:
        return tokenizer.encode(
            body.content,
            special=body.parse_special is not False,
            add_bos=bool(body.add_special) and tokenizer.add_bos,
        )

    tokens = await service.in_thread(encode)
    if not body.with_pieces:
        return JsonResponse({"tokens": tokens})
    return JsonResponse({"tokens": [{"id": token, "piece": _piece(tokenizer, token)} for token in tokens]})


def _piece(tokenizer: Tokenizer, token: int) -> str | list[int]:
    """A token's text, or its bytes where they are no whole characters."""
    data = tokenizer.decode_bytes([token])
    try:
        return data.decode()
    except UnicodeDecodeError:
        return list(data)


async def detokenize(request: Request) -> Response:
    """Turn tokens into a text."""
    service: Service = request.app.state.service
    body = await read_body(request, DetokenizeBody)
    model = service.model
    if any(token >= model.n_vocab for token in body.tokens):
        raise BadRequest(f"token ids must lie between 0 and {model.n_vocab - 1}", "tokens")
    return JsonResponse({"content": await service.in_thread(model.detokenize, body.tokens)})


async def apply_template(request: Request) -> Response:
    """Show the prompt of a conversation."""
    service: Service = request.app.state.service
    call = read_chat(await read_body(request, ChatBody), service.model_name)
    return JsonResponse({"prompt": await service.in_thread(prompt_text, service.model, call.request)})


ROUTES = [
    get("/health", health, Health),
    get("/v1/health", health, Health),
    get("/props", properties, Properties),
    get("/slots", slots, Slots),
    get("/metrics", metrics, None),
    post("/tokenize", tokenize, TokenizeBody, Tokens),
    post("/detokenize", detokenize, DetokenizeBody, Content),
    post("/apply-template", apply_template, ChatBody, PromptText),
]
