"""What a route is: one line of the table that routes.py makes."""

from dataclasses import dataclass, field

from aiohttp.typedefs import Handler
from pydantic import BaseModel

from api.queries import NoQuery
from s3_sam3.contracts.errors import ErrorCode


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
    status: int = 200
    errors: tuple[ErrorCode, ...] = ()
    """Codes of its own, beside those that every route may answer."""
    headers: tuple[str, ...] = field(default=())
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
