"""Events of the unmodified server-side SDKs, Python and Node: each tracked event is counted exactly once."""

import gzip
import json
import os
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from ldclient import Config, Context, LDClient

PLACE = "/api/v1/projects/default/environments/production"
TRACKED = 2_500
HERE = Path(__file__).parent

DOCUMENT = """\
metric: helpful
kind: rate
better: higher
---
flag: answer_style
default: short
variants: [short, long]
"""


@pytest.fixture(scope="module")
def trial(ensign):
    """A rollout that watches what applications track."""
    (ensign.data / "events.yaml").write_text(DOCUMENT)
    ensign.cli("apply", str(ensign.data / "events.yaml"))
    spec = {
        "rollout": "answer_style",
        "to": "long",
        "template": False,
        "stages": [{"percentage": 50, "min_duration": "1d"}, 100],
        "guardrails": ["helpful>=0.5x"],
    }
    ensign.request("POST", f"{PLACE}/rollouts", {"spec": spec})
    return ensign


def logged(ensign) -> list:
    """Every event in the log, as an operator exports it."""
    events, start = [], 0
    while start is not None:
        request = urllib.request.Request(
            f"{ensign.url}/api/v1/export-events?from={start}",
            method="POST",
            headers={"Authorization": f"Bearer {ensign.credentials['admin_token']}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            following = answer.headers["Ensign-Next-Position"]
            for line in answer.read().splitlines():
                record = json.loads(line)["record"]
                events += record.get("Batch", {}).get("events", [])
        start = int(following) if following else None
    return events


def count(ensign, kind: str) -> int:
    return sum(1 for event in logged(ensign) if kind in event["what"])


def accepted(ensign) -> float:
    with urllib.request.urlopen(f"{ensign.url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith('ensign_events{fate="accepted"}'))


def until(what, seconds: float = 30):
    """Waits for something that another process brings about; there is no signal to wait for between processes."""
    end, pause = time.monotonic() + seconds, threading.Event()
    while time.monotonic() < end:
        if what():
            return
        pause.wait(0.05)
    raise AssertionError("it did not happen in time")


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_python_sends_every_event_once(trial, compressed):
    before = count(trial, "Score"), accepted(trial)
    key, url = trial.environment()["sdk_key"], trial.url
    config = Config(
        key, base_uri=url, stream_uri=url, events_uri=url, flush_interval=0.3, enable_event_compression=compressed
    )
    client = LDClient(config, start_wait=10)
    assert client.is_initialized()
    style = "gzip" if compressed else "plain"
    for number in range(TRACKED):
        context = Context.builder(f"{style}-{number % 500}").build()
        if number < 500:
            assert client.variation("answer_style", context, "none") in ("short", "long")
        client.track("helpful", context, metric_value=1.0)
        if number % 500 == 499:
            client.flush()
    client.close()
    until(lambda: count(trial, "Score") - before[0] >= TRACKED)
    assert count(trial, "Score") - before[0] == TRACKED
    # 500 exposures, and every tracked event belongs to one.
    until(lambda: accepted(trial) - before[1] >= TRACKED + 500)
    assert accepted(trial) - before[1] == TRACKED + 500


@pytest.mark.skipif(not os.environ.get("ENSIGN_NODE_CLIENTS"), reason="npm is not installed")
def test_node_sends_every_event_once(trial):
    before = count(trial, "Score"), accepted(trial)
    key = trial.environment()["sdk_key"]
    program = ["node", str(HERE / "launchdarkly_events.mjs"), trial.url, key, str(TRACKED)]
    done = subprocess.run(program, cwd=os.environ["ENSIGN_NODE_CLIENTS"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"evaluated": 500, "tracked": TRACKED}
    until(lambda: count(trial, "Score") - before[0] >= TRACKED)
    assert count(trial, "Score") - before[0] == TRACKED
    until(lambda: accepted(trial) - before[1] >= TRACKED + 500)
    assert accepted(trial) - before[1] == TRACKED + 500


def test_a_repeated_payload_is_counted_once(trial):
    before = count(trial, "Score"), accepted(trial)
    now = int(time.time() * 1000)
    events = [
        {"kind": "custom", "key": "helpful", "creationDate": now, "context": {"kind": "user", "key": "plain-1"}}
    ]
    for _ in range(3):
        request = urllib.request.Request(
            trial.url + "/bulk",
            data=gzip.compress(json.dumps(events).encode()),
            method="POST",
            headers={
                "Authorization": trial.environment()["sdk_key"],
                "Content-Encoding": "gzip",
                "X-LaunchDarkly-Payload-ID": "6d0cb1f2-0000-4000-8000-000000000001",
            },
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 202
    assert accepted(trial) - before[1] == 1


def test_a_dictionary_as_a_key_is_named_with_its_correction(ensign, trial):
    """The snippet that is often copied: `create` takes a key, `from_dict` reads a dictionary."""
    key, url = ensign.environment()["sdk_key"], ensign.url
    client = LDClient(Config(key, base_uri=url, stream_uri=url, events_uri=url, flush_interval=0.3), start_wait=10)
    context = Context.create({"kind": "user", "key": "u1", "segment": "internal"})
    client.variation("answer_style", context, "short")
    client.flush()

    def warned():
        listed = json.loads(ensign.cli("clients", "--json").stdout)["clients"]
        return [one["warning"] for one in listed if one["warning"]]

    until(warned)
    assert "Context.from_dict" in warned()[0]["next"]
    doctor = ensign.cli("doctor", check=False)
    assert doctor.returncode == 1 and "Context.from_dict" in doctor.stdout, doctor.stdout
    client.close()
