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

    def environment(self, name: str = "production") -> dict:
        return self.credentials["projects"]["default"]["environments"][name]

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


@pytest.fixture(scope="module")
def ensign(tmp_path_factory):
    """Starts the server, waits for the line that names its address, stops it at the end."""
    binary = os.environ["ENSIGN_BINARY"]
    data = tmp_path_factory.mktemp("data")
    server = subprocess.Popen(
        [binary, "serve", "--listen", "127.0.0.1:0", "--data", str(data)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for line in server.stdout:
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            if found:
                break
        else:
            raise AssertionError("the server ended before it named its address")
        credentials = json.loads((data / "credentials.json").read_text())
        yield Ensign(found.group(0), data, credentials, binary)
    finally:
        server.terminate()
        server.wait(timeout=30)
