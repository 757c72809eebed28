"""deliver-webhooks connects to the addresses that it checked, and to nothing else."""

import asyncio
import contextlib
import datetime as dt
import json
import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from adapters import rest
from devstack import testing
from devstack.functions import deno


DELIVERING = Path(__file__).parents[2] / "supabase/functions/deliver-webhooks"

NAME = "receiver.example"
"""It has no address anywhere, so a connection to it used the given address."""

NewUser = Callable[..., Awaitable[testing.SignedUpUser]]


async def said(tmp_path: Path, code: str, *granted: str, **environ: str) -> Any:
    """Run *code*, a module that may use no network but *granted*; what it printed, as JSON."""
    module = tmp_path / f"{uuid.uuid4().hex}.ts"
    module.write_text(code.replace("DELIVERING", DELIVERING.as_uri()))
    process = await asyncio.create_subprocess_exec(
        *(deno.binary(), "run", "--quiet", "--no-prompt", "--no-check", "--allow-env"),
        *(f"--allow-net={','.join(granted)}", str(module)),
        env={"DENO_DIR": str(tmp_path / "deno"), "DENO_NO_UPDATE_CHECK": "1", **environ},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    return json.loads(out)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of NAME, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(pem)
    )
    return path


@pytest.fixture
async def secured(certificate: Path) -> AsyncIterator[int]:
    """The port of NAME's server on 127.0.0.1; it answers with the Host that it was asked for."""

    async def take(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.host}{request.path_qs} {await request.text()}")

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


POST = """
import { connected } from "DELIVERING/connecting.ts";
import { Answer, requestOf } from "DELIVERING/http.ts";
const url = new URL("https://HOST/hook?a=b");
try {
    const conn = await connected(url, ["127.0.0.1"], AbortSignal.timeout(10_000));
    await conn.write(requestOf(url, {}, new TextEncoder().encode("Zoë")));
    const answer = new Answer((into) => conn.read(into));
    const head = await answer.head();
    let text = "";
    for await (const piece of answer.body(head)) text += new TextDecoder().decode(piece);
    console.log(JSON.stringify([head.status, text]));
} catch (error) {
    console.log(JSON.stringify(error.constructor.name));
}
"""


async def test_a_name_is_called_at_the_address_that_was_checked(
    tmp_path: Path, certificate: Path, secured: int
) -> None:
    """The address is given, name and certificate are the URL's; no name server is asked."""
    code = POST.replace("HOST", f"{NAME}:{secured}")

    answer = await said(tmp_path, code, "127.0.0.1", DENO_CERT=str(certificate))

    assert answer == [200, f"{NAME}:{secured}/hook?a=b Zoë"]


@pytest.mark.parametrize("host", ["other.example", "127.0.0.1"])
async def test_the_certificate_must_be_the_names(
    tmp_path: Path, certificate: Path, secured: int, host: str
) -> None:
    """A server with a certificate for another name gets nothing."""
    code = POST.replace("HOST", f"{host}:{secured}")

    assert await said(tmp_path, code, "127.0.0.1", DENO_CERT=str(certificate)) == "NoTls"


async def test_a_strangers_certificate_is_refused(tmp_path: Path, secured: int) -> None:
    """The same for a certificate that no trusted authority signed."""
    code = POST.replace("HOST", f"{NAME}:{secured}")

    assert await said(tmp_path, code, "127.0.0.1") == "NoTls"


@contextlib.asynccontextmanager
async def counted() -> AsyncIterator[tuple[int, list[Any]]]:
    """A port of this machine, and the connections that came to it."""
    came: list[Any] = []

    def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(writer)
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], came


REBIND = """
import { send } from "DELIVERING/sending.ts";
const delivery = { id: "m", claim_token: 1, endpoint_id: "e", secrets: ["whsec_c2VjcmV0"],
    url: "https://localhost:PORT/", body: "{}" };
// What a name server does that answers publicly now, and with 127.0.0.1 a moment later.
const fate = await send(delivery, async (_, kind) => kind === "A" ? ["93.184.216.34"] : []);
console.log(JSON.stringify(fate.error));
"""


async def test_a_name_that_changes_its_address_gains_nothing(tmp_path: Path) -> None:
    """The name leads to this machine meanwhile; only the checked address is tried."""
    async with counted() as (port, came):
        code = REBIND.replace("PORT", str(port))
        error = await said(tmp_path, code, "127.0.0.1", "localhost")

    assert (error, came) == ("No connection.", [])


async def test_fetch_would_look_the_name_up_again(tmp_path: Path) -> None:
    """Negative control: the platform's own client calls this machine by that name."""
    async with counted() as (port, came):
        code = f"""
            await fetch("https://localhost:{port}/").catch(() => {{}});
            console.log(JSON.stringify("tried"));
        """
        assert await said(tmp_path, code, "127.0.0.1", "localhost") == "tried"

    assert came


REDIRECTED = """
import { send } from "DELIVERING/sending.ts";
const delivery = { id: "m", claim_token: 1, endpoint_id: "e", secrets: ["whsec_c2VjcmV0"],
    url: "http://127.0.0.1:PORT/", body: "{}" };
const fate = await send(delivery);
const led = await fetch(delivery.url, { method: "POST", body: "{}" });
console.log(JSON.stringify([fate.status, fate.text, led.status]));
"""


async def test_a_redirect_is_an_answer_and_nothing_else(tmp_path: Path) -> None:
    """It is not followed; negative control: the platform's own client follows it."""
    asked: list[str] = []

    async def take(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path == "/":
            return web.Response(status=307, headers={"Location": "/led"}, text="go on")
        return web.Response()

    app = web.Application()
    app.router.add_post("/{any:.*}", take)
    async with TestServer(app) as server:
        code = REDIRECTED.replace("PORT", str(server.port))
        answer = await said(tmp_path, code, "127.0.0.1", DISPATCHER_ALLOW_PRIVATE="true")

    assert answer == [307, "go on", 200]
    assert asked == ["/", "/", "/led"]


@pytest.mark.parametrize("url", ["https://127.0.0.1:{}/hook", "http://127.0.0.1:{}/hook"])
async def test_without_the_setting_this_machine_is_not_called(
    stack: testing.Stack, new_user: NewUser, url: str
) -> None:
    """As a hosted project runs it: refused before a connection, and the attempt says why."""
    user = await new_user()
    async with (
        counted() as (port, came),
        rest.Rest(url=stack.url, key=stack.service_key) as database,
        aiohttp.ClientSession(stack.url) as http,
    ):
        asked = {"p_url": url.format(port), "p_events": ["task.done"], "p_description": ""}
        made = await database.rpc("create_webhook", asked, user.access_token)
        delivery = await database.rpc(
            "test_webhook", {"p_id": made["webhook"]["id"]}, user.access_token
        )
        async with http.post(
            "/functions/v1/deliver-webhooks",
            headers={"Authorization": f"Bearer {stack.service_key}"},
        ) as answer:
            assert answer.status == 200
        attempt = await database.select_one(
            "webhook_attempts", user.access_token, columns="error,status_code", delivery_id=delivery
        )

    assert attempt == {"error": "The address is not public, or not https.", "status_code": None}
    assert came == []
