"""The unmodified SDKs of other languages, each a program that prints the model flag's values whenever they change."""

import json
import os
import queue
import subprocess
import threading
from pathlib import Path

import pytest

from serving import Restartable
from test_launchdarkly_data import MODELS, people
from test_ofrep import DOCUMENT

HERE = Path(__file__).parent


def programs() -> list:
    """The programs that this machine can run; `cargo xtask test` says which are missing."""
    found = []
    node = os.environ.get("ENSIGN_NODE_CLIENTS")
    if node:
        found.append(pytest.param(["node", str(HERE / "launchdarkly_model.mjs")], node, id="node"))
    rust = os.environ.get("ENSIGN_RUST_CLIENT")
    if rust:
        found.append(pytest.param([rust], None, id="rust"))
    return found


class Program:
    """A running client, and the lines it prints."""

    def __init__(self, command, folder, url, key, contexts):
        self.process = subprocess.Popen(
            [*command, url, key, json.dumps(contexts)],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))

    def next(self, seconds: float = 60):
        return self.lines.get(timeout=seconds)

    def end(self):
        self.process.stdin.close()
        self.process.wait(timeout=20)


@pytest.mark.parametrize(("command", "folder"), programs())
def test_the_model_flag_through_changes_and_a_restart(command, folder, tmp_path):
    server = Restartable(os.environ["ENSIGN_BINARY"], tmp_path / "data")
    ensign = server.start()
    program = None
    try:
        (tmp_path / "f.json").write_text(DOCUMENT)
        ensign.cli("apply", str(tmp_path / "f.json"))
        contexts = {name: context.to_dict() for name, context in people(ensign).items()}
        program = Program(command, folder, ensign.url, ensign.environment()["sdk_key"], contexts)
        assert program.next() == MODELS
        ensign.cli("kill", "inference_model", "--reason", "drill")
        assert set(program.next().values()) == {"claude-3-haiku"}
        server.stop()
        ensign = server.start()
        ensign.cli("restore", "inference_model")
        assert program.next() == MODELS
    finally:
        if program:
            program.end()
        server.stop()


@pytest.mark.parametrize(("command", "folder"), programs())
def test_a_wrong_key_is_refused(command, folder, ensign):
    program = Program(command, folder, ensign.url, "sdk-wrong", {"one": {"kind": "user", "key": "u"}})
    assert program.next() == {"failed": True}
    program.end()
