"""The receiver, a process of its own: answers 200 and counts; `GET /seen` tells and forgets."""

import sys
from collections import Counter

from aiohttp import web


SEEN: Counter[str] = Counter()


async def take(request: web.Request) -> web.Response:
    """Count one delivery by its id; the plain loop sends ids too."""
    await request.read()
    SEEN[request.headers["webhook-id"]] += 1
    return web.Response()


async def seen(_: web.Request) -> web.Response:
    """How many ids came, and how many requests."""
    answer = {"ids": len(SEEN), "requests": SEEN.total()}
    SEEN.clear()
    return web.json_response(answer)


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.post("/{name}", take), web.get("/seen", seen)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
