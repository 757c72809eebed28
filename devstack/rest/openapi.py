"""The answer of `/rest/v1/`: a short OpenAPI 2.0 description of what there is."""

from typing import Any

from devstack.rest import catalogue


def describe(known: catalogue.Catalogue, url: str) -> dict[str, Any]:
    """
    Relations with their columns, and functions with their parameters.

    Everything in the schema is listed, whatever the caller may use of it.
    """
    paths: dict[str, Any] = {"/": {"get": _operation("This document.")}}
    for name in sorted(known.relations):
        paths[f"/{name}"] = {
            method: _operation(f"{method.upper()} rows of {name}.")
            for method in ("get", "post", "patch", "delete")
        }
    for name, overloads in sorted(known.functions.items()):
        paths[f"/rpc/{name}"] = {
            "post": {
                **_operation(f"Call {name}."),
                "parameters": [_arguments(function) for function in overloads],
            }
        }
    return {
        "swagger": "2.0",
        "info": {
            "title": "S3 devstack",
            "description": "The subset of PostgREST that the devstack speaks.",
            "version": "14-devstack",
        },
        "host": url,
        "paths": paths,
        "definitions": {
            name: _definition(relation) for name, relation in sorted(known.relations.items())
        },
    }


def _operation(summary: str) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": {"description": "OK"}}}


def _arguments(function: catalogue.Function) -> dict[str, Any]:
    return {
        "in": "body",
        "name": "args",
        "schema": {
            "type": "object",
            "required": [one.name for one in function.parameters if one.required],
            "properties": {one.name: {"format": one.type} for one in function.parameters},
        },
    }


def _definition(relation: catalogue.Relation) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            column.name: {
                "format": column.type,
                **({"default": column.default} if column.default is not None else {}),
                **({"description": "Primary key."} if column.name in relation.primary_key else {}),
            }
            for column in relation.columns.values()
        },
    }
