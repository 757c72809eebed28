"""The OpenAPI document, made from the route table and the models that the handlers use."""

from collections.abc import Iterable
from importlib import metadata
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from api import answers
from api.route import Route
from api.uploads import upload_image
from s3_sam3.contracts.bodies import ErrorBody, Meta
from s3_sam3.contracts.errors import FACTS, ErrorCode
from s3_sam3.contracts.limits import IMAGE_TYPES


_REFERENCE: Final = "#/components/schemas/{model}"
_JSON: Final = "application/json"
_META: Final = {"$ref": _REFERENCE.format(model="Meta")}
_BINARY: Final = {"type": "string", "format": "binary"}
_PATH_PARAMETERS: Final = {
    "id": {"type": "string", "format": "uuid"},
    "delivery_id": {"type": "string"},
}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Describe *routes* as OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "S3: text-prompted segmentation",
            "version": metadata.version("s3-sam3"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(routes),
            "securitySchemes": {
                "supabase": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def _schemas(routes: Iterable[Route]) -> dict[str, Any]:
    shown: set[type[BaseModel]] = {ErrorBody, Meta}
    shown |= {route.answer for route in routes if route.answer}
    sent: set[type[BaseModel]] = {route.request for route in routes if route.request}
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (model, "serialization") for model in shown
    ] + [(model, "validation") for model in sent]
    _, top = models_json_schema(modes, ref_template=_REFERENCE)
    schemas: dict[str, Any] = top["$defs"]
    return dict(sorted(schemas.items()))


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": (route.handler.__doc__ or "").strip().splitlines()[0],
        "parameters": _parameters(route),
        "responses": {**_success(route), **_failures(route)},
    }
    if body := _request_body(route):
        operation["requestBody"] = body
    if not route.public:
        operation["security"] = [{"supabase": []}]
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    for name, schema in _PATH_PARAMETERS.items():
        if f"{{{name}}}" in route.path:
            parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
    query = route.query.model_json_schema()
    for name, field in query.get("properties", {}).items():
        parameters.append({"name": name, "in": "query", "schema": _inlined(field, query)})
    parameters.extend(
        {"name": name, "in": "header", "schema": {"type": "string"}} for name in route.headers
    )
    return parameters


def _inlined(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Replace references to the query model's own definitions, which the document lacks."""
    options = [
        schema["$defs"][option["$ref"].rsplit("/", 1)[1]] if "$ref" in option else option
        for option in field.get("anyOf", [])
    ]
    return {**field, "anyOf": options} if options else field


def _request_body(route: Route) -> dict[str, Any] | None:
    if route.request is not None:
        reference = _REFERENCE.format(model=route.request.__name__)
        return {"required": True, "content": {_JSON: {"schema": {"$ref": reference}}}}
    if route.handler is not upload_image:
        return None
    form = {"type": "object", "required": ["file"], "properties": {"file": _BINARY}}
    raw = {media_type: {"schema": _BINARY} for media_type in IMAGE_TYPES.values()}
    return {"required": True, "content": {"multipart/form-data": {"schema": form}, **raw}}


def _success(route: Route) -> dict[str, Any]:
    if route.answer is None:
        return {"200": {"description": "The document itself, without an envelope."}}
    reference = {"$ref": _REFERENCE.format(model=route.answer.__name__)}
    found = {str(route.status): _response("Success.", _envelope(data=reference))}
    if "wait" in route.query.model_fields:
        found["200"] = _response("The task ended while waiting.", _envelope(data=reference))
    return found


def _failures(route: Route) -> dict[str, Any]:
    """One response per status; its description names the codes."""
    by_status: dict[int, list[ErrorCode]] = {}
    for code in route.codes:
        by_status.setdefault(FACTS[code].status, []).append(code)
    reference = {"$ref": _REFERENCE.format(model="ErrorBody")}
    return {
        str(status): _response(
            ", ".join(codes),
            _envelope(error=reference),
            *(["Retry-After"] if any(FACTS[code].retryable for code in codes) else []),
        )
        for status, codes in sorted(by_status.items())
    }


def _envelope(*, data: Any = None, error: Any = None) -> dict[str, Any]:
    null = {"type": "null"}
    return {
        "type": "object",
        "required": ["success", "data", "error", "meta"],
        "properties": {
            "success": {"const": error is None},
            "data": data or null,
            "error": error or null,
            "meta": _META,
        },
    }


def _response(description: str, schema: dict[str, Any], *headers: str) -> dict[str, Any]:
    header = {"schema": {"type": "string"}}
    return {
        "description": description,
        "headers": dict.fromkeys((answers.REQUEST_ID_HEADER, *headers), header),
        "content": {_JSON: {"schema": schema}},
    }
