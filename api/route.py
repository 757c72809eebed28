"""What a route is. Each resource's module ends with its routes; app.py puts them together."""

from dataclasses import KW_ONLY, dataclass
from http import HTTPStatus
from typing import Final

from aiohttp.typedefs import Handler
from pydantic import BaseModel

from api.parsing import Query
from s3_sam3.contracts.errors import ErrorCode


_EVERYWHERE: Final = (ErrorCode.METHOD_NOT_ALLOWED, ErrorCode.SHUTTING_DOWN, ErrorCode.INTERNAL)
"""Codes that any route may answer; an unknown path is `not_found`."""

_WITH_TOKEN: Final = (
    ErrorCode.UNAUTHENTICATED,
    ErrorCode.TOKEN_EXPIRED,
    ErrorCode.FORBIDDEN,
    ErrorCode.UPSTREAM_UNAVAILABLE,
)
"""Codes that any route with a token may answer besides."""

BAD_BODY: Final = (ErrorCode.EMPTY_BODY, ErrorCode.INVALID_REQUEST, ErrorCode.FILE_TOO_LARGE)
"""Codes of a route that reads a body."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path; the handler's name is the operation's name."""

    method: str
    path: str
    handler: Handler
    answer: type[BaseModel] | None
    """What `data` holds; None: the answer is no envelope."""
    _: KW_ONLY
    status: HTTPStatus = HTTPStatus.OK
    request: type[BaseModel] | None = None
    """The JSON body."""
    query: type[Query] = Query
    headers: tuple[str, ...] = ()
    """Request headers of its own."""
    errors: tuple[ErrorCode, ...] = ()
    """Codes that its path, its query and its JSON body do not imply."""

    @property
    def operation(self) -> str:
        """Its name in metrics, logs and the OpenAPI document."""
        name: str = self.handler.__name__
        return name

    @property
    def public(self) -> bool:
        """Whether it needs no token."""
        return not self.path.startswith("/api/")

    @property
    def own_codes(self) -> tuple[ErrorCode, ...]:
        """Codes that it may answer beside those of every route, in the order of ErrorCode."""
        codes = set(self.errors)
        if "{" in self.path:
            codes.add(ErrorCode.NOT_FOUND)
        if self.query.model_fields:
            codes.add(ErrorCode.INVALID_REQUEST)
        if self.request is not None:
            codes.update(BAD_BODY)
        return tuple(code for code in ErrorCode if code in codes)

    @property
    def codes(self) -> tuple[ErrorCode, ...]:
        """Every code that it may answer, in the order of ErrorCode."""
        codes = {*self.own_codes, *_EVERYWHERE, *(() if self.public else _WITH_TOKEN)}
        return tuple(code for code in ErrorCode if code in codes)
