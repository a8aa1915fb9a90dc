"""A real `ensign serve` on a free loopback port for the tests of unmodified clients."""

import json
import os
import re
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass
class Ensign:
    """A running server and its credentials."""

    url: str
    data: Path
    credentials: dict
    binary: str
    server: subprocess.Popen | None = None

    def environment(self, name: str = "production") -> dict:
        return self.credentials["projects"]["default"]["environments"][name]

    def stop(self) -> None:
        """Stops the server as an operator would."""
        self.server.terminate()
        self.server.wait(timeout=30)

    def start(self) -> None:
        """Starts it again on the same address and data."""
        self.server, _ = launch(self.data, self.url.rsplit(":", 1)[1])

    def restart(self) -> None:
        self.stop()
        self.start()

    def cli(self, *args: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess:
        """Runs the command line tool against this server."""
        env = {**os.environ, "ENSIGN_URL": self.url, "ENSIGN_TOKEN": self.credentials["admin_token"]}
        done = subprocess.run(
            [self.binary, *args], env=env, input=stdin, text=True, capture_output=True, timeout=60
        )
        if check and done.returncode != 0:
            raise AssertionError(f"ensign {' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def request(self, method: str, path: str, body=None, token: str | None = None):
        """One JSON request; returns the status and the parsed body."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {token or self.credentials['admin_token']}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"null")


def launch(data: Path, port: str = "0"):
    """Starts a server on a data folder and waits for the line that names its address."""
    binary = os.environ["ENSIGN_BINARY"]
    server = subprocess.Popen(
        [binary, "serve", "--listen", f"127.0.0.1:{port}", "--data", str(data), "--log", "warn"],
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in server.stdout:
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        if found:
            credentials = json.loads((data / "credentials.json").read_text())
            return server, Ensign(found.group(0), data, credentials, binary, server)
    raise AssertionError("the server ended before it named its address")


@pytest.fixture(scope="module")
def ensign(tmp_path_factory):
    """A server for the tests of one file."""
    server, running = launch(tmp_path_factory.mktemp("data"))
    try:
        yield running
    finally:
        running.stop()
