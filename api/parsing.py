"""Body, query, path and headers of a request become types, or are refused field by field."""

import json
from typing import Any, Final, TypeVar
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from api.problems import Problem
from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode


MAX_JSON_BYTES: Final = 256 * 1024
"""Bytes of a JSON body: sixteen prompts with all their boxes are a tenth of it."""

IDEMPOTENCY_HEADER: Final = "Idempotency-Key"

Model = TypeVar("Model", bound=BaseModel)


class Query(BaseModel):
    """The parameters of a route: by itself none; an unknown one is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


async def body(request: web.Request, model: type[Model]) -> Model:
    """Read the JSON body. Raises: Problem with EMPTY_BODY or INVALID_REQUEST."""
    raw = await request.read()
    if not raw.strip():
        raise Problem(ErrorCode.EMPTY_BODY)
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise _unreadable(error) from None


def query(request: web.Request, model: type[Model]) -> Model:
    """Read the query string. Raises: Problem with INVALID_REQUEST."""
    if len(set(request.query)) < len(request.query):
        raise Problem(ErrorCode.INVALID_REQUEST, {"reason": "a parameter is given twice"})
    try:
        return model.model_validate(dict(request.query))
    except ValidationError as error:
        raise _unreadable(error) from None


def path_id(request: web.Request) -> UUID:
    """Read `{id}`. Raises: Problem with NOT_FOUND, since no row has such an id."""
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        raise Problem(ErrorCode.NOT_FOUND) from None


def idempotency_key(request: web.Request) -> str | None:
    """Read `Idempotency-Key`. Raises: Problem with INVALID_REQUEST when it is empty or long."""
    key = request.headers.get(IDEMPOTENCY_HEADER)
    if key is None:
        return None
    key = key.strip()
    if not (0 < len(key) <= limits.IDEMPOTENCY_KEY_CHARACTERS and key.isprintable()):
        message = f"1-{limits.IDEMPOTENCY_KEY_CHARACTERS} printable characters"
        fields = [{"field": IDEMPOTENCY_HEADER, "message": message}]
        raise Problem(ErrorCode.INVALID_REQUEST, {"fields": fields})
    return key


def _unreadable(error: ValidationError) -> Problem:
    """Name each field and what is wrong with it; the value itself is not sent back."""
    faults: list[dict[str, Any]] = [
        {"field": ".".join(str(part) for part in fault["loc"]), "message": fault["msg"]}
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    # Through JSON, since a message may quote a lone surrogate that UTF-8 cannot carry.
    return Problem(ErrorCode.INVALID_REQUEST, {"fields": json.loads(json.dumps(faults))})
