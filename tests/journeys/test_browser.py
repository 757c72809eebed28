"""The main job from a web page: supabase-js in Chromium, REST and Realtime across origins."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler
from journeys.service import Service
from pictures import shapes
from playwright.async_api import Browser, async_playwright


HERE = Path(__file__).parent
SUPABASE_JS = HERE.parent / "browser/node_modules/@supabase/supabase-js/dist/umd/supabase.js"

# Debian's Chromium as root, on a machine whose network is closed.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
async def page_url() -> AsyncIterator[str]:
    """The page, its script and its picture on an origin of their own."""
    app = web.Application()

    async def picture(_request: web.Request) -> web.Response:
        return web.Response(body=shapes(), content_type="image/png")

    app.router.add_get("/", file(HERE / "page.html"))
    app.router.add_get("/supabase.js", file(SUPABASE_JS))
    app.router.add_get("/picture.png", picture)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium, headless."""
    path = shutil.which("chromium")
    assert path, "Chromium is missing: apt-get install chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        await browser.close()


async def test_a_page_hears_of_its_result_by_realtime(
    service: Service, browser: Browser, page_url: str, tmp_path: Path
) -> None:
    """A page signs up, uploads, submits, sees its row become done and shows the overlay."""
    page = await browser.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    await page.goto(page_url)

    seen: dict[str, Any] = await page.evaluate(
        "(asked) => journey(asked)",
        {
            "supabaseUrl": service.settings.supabase_url,
            "anonKey": service.settings.supabase_anon_key,
            "apiUrl": service.settings.s3_api_url,
            "picture": "/picture.png",
            "email": f"web{os.urandom(5).hex()}@example.org",
        },
    )
    await page.screenshot(path=os.environ.get("S3_SCREENSHOT") or tmp_path / "page.png")

    assert wrong == []
    assert seen["status"] == "done"
    assert seen["rowId"] == seen["taskId"]
    assert seen["states"][0] == "pending"
    assert seen["width"] == 320
    assert seen["instances"] == 1


def file(path: Path) -> Handler:
    """A handler that sends one file."""

    async def send(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(path)

    return send
