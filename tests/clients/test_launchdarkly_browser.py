"""The unmodified SDK for browsers, run by Node: flags, a change without a restart, events, and a wrong ID."""

import json
import os
import queue
import subprocess
import threading
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NODE = os.environ.get("ENSIGN_NODE_CLIENTS")
pytestmark = pytest.mark.skipif(not NODE, reason="npm is not installed")

# The document of the README, and what makes it visible in browsers.
DOCUMENT = """\
{ "flag": "inference_model", "default": "claude-3-haiku", "client_side": true,
  "rules": [ { "condition": {"user_segment": "internal"}, "value": "claude-opus-4-6" },
             { "condition": {"rollout_percentage": 10},  "value": "claude-sonnet-4-6" } ] }
---
{ "flag": "retrieval_top_k", "default": 8 }
---
{ "metric": "clicked", "kind": "count", "better": "higher" }
"""


class Page:
    """A page with the SDK, and the lines it prints."""

    def __init__(self, url: str, client_id: str, context: dict):
        command = ["node", str(HERE / "launchdarkly_browser.mjs"), url, client_id, json.dumps(context)]
        self.process = subprocess.Popen(command, cwd=NODE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))

    def next(self, seconds: float = 30):
        return self.lines.get(timeout=seconds)

    def end(self):
        self.process.stdin.close()
        self.process.wait(timeout=20)


@pytest.mark.parametrize("prefix", ["", "/ld"])
def test_the_model_flag_and_a_change_without_a_restart(ensign, prefix):
    (ensign.data / "browser.yaml").write_text(DOCUMENT)
    ensign.cli("apply", str(ensign.data / "browser.yaml"))
    client_id = ensign.environment()["client_id"]
    context = {"kind": "user", "key": f"browser-1{prefix.strip('/')}", "user_segment": "internal"}
    page = Page(ensign.url + prefix, client_id, context)
    try:
        # A flag that is not made available to clients does not exist for them.
        assert page.next() == {"status": "complete", "model": "claude-opus-4-6", "hidden": "none"}
        assert page.next() == {"tracked": 50}
        ensign.cli("kill", "inference_model", "--reason", "drill")
        assert page.next() == {"model": "claude-3-haiku"}
        ensign.cli("restore", "inference_model")
        assert page.next() == {"model": "claude-opus-4-6"}
    finally:
        page.end()
    listed = json.loads(ensign.cli("clients", "--json").stdout)["clients"]
    assert [one["version"] for one in listed if one["name"] == "JSClient"] == ["4.10.3"], listed


def test_events_of_browsers_are_counted_once(ensign):
    import urllib.request

    request = urllib.request.Request(
        f"{ensign.url}/api/v1/export-events",
        method="POST",
        headers={"Authorization": f"Bearer {ensign.credentials['admin_token']}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        records = [json.loads(line)["record"] for line in answer.read().splitlines()]
    events = [event for record in records for event in record.get("Batch", {}).get("events", [])]
    assert sum("Score" in event["what"] for event in events) == 100


def test_an_unknown_id_is_refused(ensign):
    page = Page(ensign.url, "no-such-id", {"kind": "user", "key": "u"})
    try:
        assert page.next()["status"] != "complete"
    finally:
        page.end()
