"""The `Accept` header: one JSON object or an array, with or without nulls."""

import dataclasses

from devstack.rest import errors


_ARRAY = "application/vnd.pgrst.array"
_OBJECT = "application/vnd.pgrst.object"
_CHARSET = "; charset=utf-8"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The form of the answer's body."""

    #: Value of the answer's Content-Type.
    content_type: str
    #: True when exactly one row is wanted, as an object.
    single: bool = False
    strip_nulls: bool = False


JSON = Shape(content_type="application/json" + _CHARSET)

_SHAPES = {
    ("*/*", ""): JSON,
    ("application/*", ""): JSON,
    ("application/json", ""): JSON,
    (_ARRAY, ""): JSON,
    (_ARRAY, "stripped"): Shape(
        content_type=f"{_ARRAY}+json;nulls=stripped{_CHARSET}", strip_nulls=True
    ),
    (_OBJECT, ""): Shape(content_type=f"{_OBJECT}+json{_CHARSET}", single=True),
    (_OBJECT, "stripped"): Shape(
        content_type=f"{_OBJECT}+json;nulls=stripped{_CHARSET}", single=True, strip_nulls=True
    ),
}


def negotiate(accept: str | None) -> Shape:
    """The first shape in *accept* that the gateway has. Raises: MediaTypeError."""
    offers = [offer.strip() for offer in (accept or "*/*").split(",")]
    for offer in offers:
        if shape := _shape(offer):
            return shape
    raise errors.MediaTypeError(
        f"None of these media types are available: {', '.join(offers)}",
        hint="The devstack answers JSON only: no CSV, query plans, GeoJSON or binary.",
    )


def _shape(offer: str) -> Shape | None:
    kind, *parameters = [part.strip().lower() for part in offer.split(";")]
    nulls = next((value[6:] for value in parameters if value.startswith("nulls=")), "")
    bare = kind.removesuffix("+json") if kind.startswith("application/vnd.pgrst.") else kind
    return _SHAPES.get((bare, nulls))
