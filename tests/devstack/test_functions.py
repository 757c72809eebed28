"""`/functions/v1`: who may call, what a function sees, and what happens when one dies."""

import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator

import aiohttp
import process_table
import pytest

from devstack import testing


ECHO = """
Deno.serve(async (request) => {
  const url = new URL(request.url);
  if (url.searchParams.has("die")) Deno.exit(3);
  if (url.searchParams.has("slow")) {
    const parts = new ReadableStream({
      async start(controller) {
        controller.enqueue(new TextEncoder().encode("first\\n"));
        await new Promise((done) => setTimeout(done, 60_000));
        controller.close();
      },
    });
    return new Response(parts);
  }
  const body = await request.text();
  const seen = { method: request.method, path: url.pathname + url.search, body,
    header: request.headers.get("x-mine"), pid: Deno.pid, env: Deno.env.toObject() };
  return Response.json(seen, { status: 418, headers: { "x-theirs": "tea" } });
});
"""

CONFIG = """
[functions.open]
verify_jwt = false
[functions.off]
enabled = false
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[testing.Stack]:
    """A devstack with functions of its own, and a secret for them."""
    root = tmp_path_factory.mktemp("served")
    for name in ("open", "closed", "off", "_shared"):
        (root / "functions" / name).mkdir(parents=True)
        (root / "functions" / name / "index.ts").write_text(ECHO)
    (root / "functions" / "broken").mkdir()
    (root / "functions" / "broken" / "index.ts").write_text("this is no program")
    (root / "config.toml").write_text(CONFIG)
    (root / "secrets").write_text('# a comment\nMY_SECRET="s3cret"\n')
    process = testing.DevstackProcess(
        root / "state",
        "--functions-dir",
        str(root / "functions"),
        "--functions-env",
        str(root / "secrets"),
    )
    try:
        yield process.wait_ready()
    finally:
        process.stop()


@pytest.fixture
async def functions(served: testing.Stack) -> AsyncIterator[aiohttp.ClientSession]:
    """Plain HTTP to the functions, without any key."""
    async with aiohttp.ClientSession(f"{served.url}/functions/v1/") as http:
        yield http


async def test_a_request_and_its_answer_pass_through(functions: aiohttp.ClientSession) -> None:
    """Method, path, query, header and body arrive; status, header and body come back."""
    async with functions.patch(
        "open/a%2Fb?x=1&x=%26", data=b"bytes \xc3\xa4", headers={"x-mine": "mine"}
    ) as answer:
        seen = await answer.json()

    assert answer.status == 418
    assert answer.headers["x-theirs"] == "tea"
    assert (seen["method"], seen["path"]) == ("PATCH", "/open/a%2Fb?x=1&x=%26")
    assert (seen["body"], seen["header"]) == ("bytes ä", "mine")


async def test_a_function_finds_the_platform_in_its_environment(
    functions: aiohttp.ClientSession, served: testing.Stack
) -> None:
    """It has what a hosted one has and the person's secrets, and not our whole environment."""
    async with functions.get("open") as answer:
        env = (await answer.json())["env"]

    assert env["SUPABASE_URL"] == served.url
    assert env["SUPABASE_SERVICE_ROLE_KEY"] == served.service_key
    assert env["R2_BUCKET"] == served.r2_bucket
    assert env["MY_SECRET"] == "s3cret"
    assert "PYTEST_CURRENT_TEST" not in env


@pytest.mark.parametrize(
    ("bearer", "status"), [("", 401), ("nonsense", 401), ("anon", 418), ("service", 418)]
)
async def test_a_token_is_asked_for_unless_the_config_says_no(
    functions: aiohttp.ClientSession, served: testing.Stack, bearer: str, status: int
) -> None:
    """As hosted: the gateway checks the bearer before the function hears of the request."""
    keys = {"anon": served.anon_key, "service": served.service_key}
    headers = {"Authorization": f"Bearer {keys.get(bearer, bearer)}"} if bearer else {}
    async with functions.get("closed", headers=headers) as answer:
        assert answer.status == status
    async with functions.get("open", headers=headers) as answer:
        assert answer.status == 418


@pytest.mark.parametrize("name", ["nobody", "off", "_shared", "..%2Fclosed"])
async def test_what_is_no_function_is_not_found(
    functions: aiohttp.ClientSession, name: str
) -> None:
    """Unknown, disabled and shared folders answer 404, and so does a path out of the folder."""
    async with functions.get(name) as answer:
        assert answer.status == 404


async def test_a_function_that_does_not_start_says_why(
    functions: aiohttp.ClientSession, served: testing.Stack
) -> None:
    """503 with the end of its log, at each request."""
    for _ in range(2):
        headers = {"Authorization": f"Bearer {served.anon_key}"}
        async with functions.get("broken", headers=headers) as answer:
            assert answer.status == 503
            assert (await answer.json())["code"] == "BOOT_ERROR"


async def test_an_answer_is_streamed(functions: aiohttp.ClientSession) -> None:
    """The first part arrives while the function still works on the rest."""
    async with functions.get("open?slow=1") as answer:
        assert await answer.content.readline() == b"first\n"


async def test_a_function_that_died_is_started_again(
    functions: aiohttp.ClientSession,
) -> None:
    """The request that killed it fails; a later one finds another process."""
    before = await pid(functions)
    async with functions.get("open?die=1") as answer:
        assert answer.status == 502

    assert await pid(functions) != before


async def pid(functions: aiohttp.ClientSession) -> int:
    """Process id of the function `open`."""
    async with functions.get("open") as answer:
        found: int = (await answer.json())["pid"]
        return found


async def test_no_function_outlives_a_killed_devstack(
    new_devstack: Callable[..., testing.DevstackProcess], served: testing.Stack
) -> None:
    """SIGKILL of the devstack ends its functions' processes too."""
    folder = served.state_dir.parent / "functions"
    stack = new_devstack("--functions-dir", str(folder)).wait_ready()
    async with aiohttp.ClientSession(f"{stack.url}/functions/v1/") as http:
        process = await pid(http)
    assert process_table.alive(process)

    os.kill(stack.pid, signal.SIGKILL)

    assert process_table.gone([process], 20)


async def test_cors_is_the_functions_business(functions: aiohttp.ClientSession) -> None:
    """What a hosted function would have to answer to a preflight, it has to answer here."""
    headers = {"Origin": "http://localhost", "Access-Control-Request-Method": "POST"}
    async with functions.options("closed", headers=headers) as answer:
        assert answer.status == 418
        assert "Access-Control-Allow-Origin" not in answer.headers
