"""A server that tests stop and start again at the same address, and the worlds they draw."""

import json
import re
import subprocess
from pathlib import Path

from conftest import Ensign


class Restartable:
    """`ensign serve` on a data folder; after the first start it keeps its port."""

    def __init__(self, binary: str, data: Path):
        self.binary, self.data, self.listen, self.process = binary, data, "127.0.0.1:0", None

    def start(self) -> Ensign:
        self.process = subprocess.Popen(
            [self.binary, "serve", "--listen", self.listen, "--data", str(self.data)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in self.process.stdout:
            found = re.search(r"http://(127\.0\.0\.1:\d+)", line)
            if found:
                break
        else:
            raise AssertionError("the server ended before it named its address")
        self.listen = found.group(1)
        credentials = json.loads((self.data / "credentials.json").read_text())
        return Ensign(f"http://{self.listen}", self.data, credentials, self.binary)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)
