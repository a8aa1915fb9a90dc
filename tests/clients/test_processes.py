"""The unmodified OpenFeature providers for Node, browsers and Rust against a real server."""

import json
import os
import subprocess
from pathlib import Path

import pytest

import cases

SCRIPTS = Path(__file__).parent / "node"

MODES = [
    ("node", "server.cjs", "ofrep"),
    ("node", "server.cjs", "rpc"),
    ("node", "server.cjs", "in-process"),
    ("node", "web.cjs", "web"),
    ("rust", None, "ofrep"),
    ("rust", None, "rpc"),
    ("rust", None, "in-process"),
]


def command(language, script):
    """The program of a mode; none where the machine lacks what it needs (the runner says so)."""
    if language == "rust":
        return [os.environ["ENSIGN_RUST_OPENFEATURE"]] if "ENSIGN_RUST_OPENFEATURE" in os.environ else None
    return ["node", str(SCRIPTS / script)] if "ENSIGN_NODE_MODULES" in os.environ else None


RUN = [mode for mode in MODES if command(mode[0], mode[1] or "")]


@pytest.mark.parametrize(("language", "script", "mode"), RUN, ids=["-".join([m[0], m[2]]) for m in RUN])
def test_provider(ensign, language, script, mode):
    cases.apply(ensign)
    answers = cases.answers(ensign)
    exact = sorted(cases.exact_flags(ensign))
    task = {
        "mode": mode,
        "url": ensign.url,
        "key": ensign.environment()["sdk_key"],
        "exact": exact,
        "cases": [{"context": cases.context(at), "answers": answers[at]} for at in range(cases.CONTEXTS)],
    }
    client = subprocess.Popen(
        command(language, script),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "NODE_PATH": os.environ.get("ENSIGN_NODE_MODULES", "")},
    )
    said = []
    try:
        client.stdin.write(json.dumps(task) + "\n")
        client.stdin.flush()
        for line in client.stdout:
            said.append(line.strip())
            word = said[-1].split(" ")[0]
            if word == "kill":
                ensign.cli("kill", "tier", "--reason", "drill")
            elif word == "restart":
                ensign.restart()
                ensign.cli("restore", "tier")
            elif word != "done":
                continue
            client.stdin.write("{}\n")
            client.stdin.flush()
            if word == "done":
                break
        assert client.wait(timeout=60) == 0, said
        flags = [flag for flag in cases.STRINGS if mode != "in-process" or flag in exact]
        assert said[-1] == f"done {cases.CONTEXTS * len(flags)}"
    finally:
        client.kill()
        if "kill" in said and "restart" not in said:
            # It failed between the two; the next client is to find the flag as this one did.
            ensign.cli("restore", "tier")
