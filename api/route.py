"""What a route is. Each resource's module ends with its routes; routes.py puts them together."""

from dataclasses import dataclass
from http import HTTPStatus

from aiohttp.typedefs import Handler
from pydantic import BaseModel

from api.pages import NoQuery
from s3_sam3.contracts.errors import ErrorCode


BAD_BODY = (ErrorCode.EMPTY_BODY, ErrorCode.INVALID_REQUEST, ErrorCode.FILE_TOO_LARGE)
"""Codes of every route that reads a JSON body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path; the handler's name is the operation's name."""

    method: str
    path: str
    handler: Handler
    answer: type[BaseModel] | None
    """What `data` holds; None: the answer is no envelope."""
    request: type[BaseModel] | None = None
    """The JSON body."""
    query: type[BaseModel] = NoQuery
    status: int = HTTPStatus.OK
    errors: tuple[ErrorCode, ...] = ()
    """Codes of its own, beside those that every route may answer."""
    headers: tuple[str, ...] = ()
    """Request headers of its own."""

    @property
    def operation(self) -> str:
        """Its name in metrics, logs and the OpenAPI document."""
        name: str = self.handler.__name__
        return name

    @property
    def public(self) -> bool:
        """Whether it needs no token."""
        return not self.path.startswith("/api/")
