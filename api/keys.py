"""The things the application holds, by type; `app.py` puts them there."""

import asyncio
from typing import Any, Final

from aiohttp import web

from adapters.objects import ObjectStore
from adapters.rest import Rest
from api.auth import Authenticator, Principal
from api.metrics import Metrics, OpenRequests
from api.prompt_checks import TokenCount
from api.rethresholding import Rethresholder
from api.settings import ApiSettings
from api.upload_checks import UploadChecks
from api.waiting import Waits


SETTINGS: Final = web.AppKey("settings", ApiSettings)
REST: Final = web.AppKey("rest", Rest)
OBJECTS: Final = web.AppKey("objects", ObjectStore)
AUTHENTICATOR: Final = web.AppKey("authenticator", Authenticator)
UPLOAD_CHECKS: Final = web.AppKey("upload_checks", UploadChecks)
RETHRESHOLDER: Final = web.AppKey("rethresholder", Rethresholder)
METRICS: Final = web.AppKey("metrics", Metrics)
TOKEN_COUNT: Final = web.AppKey[TokenCount]("token_count")
OPENAPI: Final = web.AppKey("openapi", dict[str, Any])
OPEN_REQUESTS: Final = web.AppKey("open_requests", OpenRequests)
WITH_TOKEN: Final = web.AppKey("with_token", frozenset[str])
"""Operations of the routes that are not public."""
WAITS: Final = web.AppKey("waits", Waits)
STOPPING: Final = web.AppKey("stopping", asyncio.Event)
"""Set when the process was asked to stop."""

PRINCIPAL: Final = web.RequestKey("principal", Principal)
"""The caller; on every request to a route that needs a token."""
