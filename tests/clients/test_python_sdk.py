"""Ensign's own client for Python, installed from its wheel."""

import asyncio
import json
import os
import re
import subprocess
import threading
import time
import venv
from pathlib import Path

import pytest

import ensign as ensign_sdk
from ensign.openfeature import EnsignProvider
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from openfeature.track import TrackingEventDetails

import cases

ROOT = Path(__file__).resolve().parents[2]
METRIC = "metric: helpful\nkind: rate\nbetter: higher\nunit: request\n"


@pytest.fixture(scope="module")
def key(ensign):
    cases.apply(ensign)
    (ensign.data / "helpful.yaml").write_text(METRIC + "---\nflag: inference_model\ndefault: claude-3-haiku\n")
    ensign.cli("apply", str(ensign.data / "helpful.yaml"))
    return ensign.environment()["sdk_key"]


@pytest.fixture()
def client(ensign, key):
    with ensign_sdk.Client(ensign.url, key, wait=20) as client:
        assert client.revision is not None
        yield client


def eventually(test, seconds=20.0):
    until = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.01)


def test_five_thousand_contexts_by_both_interfaces(ensign, client):
    api.set_provider_and_wait(EnsignProvider(client), "compare")
    openfeature = api.get_client("compare")
    for number, expected in enumerate(cases.answers(ensign)):
        context = cases.context(number)
        unit = context.pop("targetingKey", None)
        for flag, value in expected.items():
            assert client.value(flag, "none", unit, context) == value, (number, flag)
            assert client.variant(flag, unit=unit, context=context).value == value
            assert openfeature.get_string_value(flag, "none", EvaluationContext(unit, context)) == value


def test_values_have_their_types(client):
    for _, flag, default, value in cases.TYPES:
        got = client.variant(flag, unit="u1", context={"plan": "pro"}, default=default)
        assert got.value == value and type(got.value) is type(value), flag
        assert got.error is None and got.name
    missing = client.variant("no_such_flag", unit="u1", default="mine")
    assert (missing.value, missing.error, missing.name, missing.reason) == ("mine", "FLAG_NOT_FOUND", None, "ERROR")


def test_contexts_of_every_shape(client):
    shapes = [
        None,
        {},
        {"plan": None, "n": 2**70, "f": 1.5, "b": True},
        {"nested": {"a": [1, {"b": None}]}, "when": __import__("datetime").datetime.now()},
        {"kind": "multi", "org": {"key": "acme"}, "user": {"key": "u1", "plan": "pro"}},
    ]
    for shape in shapes:
        assert client.variant("tier", unit="u1", context=shape).value in ("tin", "gold")
    assert client.variant("tier", context=shapes[-1]).value == "gold"
    for bad in ({1: 2}, {"x": object()}):
        with pytest.raises(TypeError):
            client.variant("tier", unit="u1", context=bad)


def test_what_is_reported_is_counted_once_also_while_the_server_is_away(ensign, client):
    model = client.variant("ranker", unit="user-1")
    with model.request(use_case="support", model="m") as call:
        call.first_token()
        call.tokens(420, 96)
    with pytest.raises(TimeoutError), client.request([model, client.variant("tier", unit="user-1")]):
        raise TimeoutError
    assert client.outcome(model, "helpful", True)
    assert client.outcome(model.token(), "helpful", 0)
    assert client.flush(20)
    counts = client.counts
    # One exposure beside them.
    assert (counts["noted"], counts["acknowledged"], counts["refused"]) == (5, 5, 0), counts
    ensign.stop()
    for number in range(50):
        with client.variant("ranker", unit=f"away-{number}").request():
            pass
    assert not client.flush(0.5)
    ensign.start()
    assert client.flush(60)
    counts = client.counts
    assert (counts["acknowledged"], counts["refused"], counts["dropped"]) == (counts["noted"], 0, 0), counts
    eventually(lambda: client.contact == "current", 60)


def test_statuses_follow_from_what_was_raised():
    class Throttled(Exception):
        status_code = 429

    class Overloaded(Exception):
        status = 529

    class APITimeoutError(Exception):
        pass

    for raised, status in [
        (None, "ok"),
        (Throttled(), "rate_limited"),
        (Overloaded(), "overloaded"),
        (APITimeoutError(), "timeout"),
        (TimeoutError(), "timeout"),
        (asyncio.CancelledError(), "client_cancelled"),
        (ConnectionResetError(), "upstream_error"),
        (json.JSONDecodeError("x", "", 0), "malformed"),
    ]:
        assert ensign_sdk._status(raised) == status, raised


def test_threads_and_asyncio(client):
    wrong = []

    def work(name):
        for number in range(2_000):
            value = client.value("tier", "none", f"{name}-{number}", {"plan": "pro"})
            if value != "gold":
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert wrong == []

    async def one(number):
        async with client.variant("ranker", unit=f"async-{number}").request() as call:
            await asyncio.sleep(0)
            call.tokens(1, 2)
        return await api.get_client("compare").get_string_value_async("tier", "none", EvaluationContext("u", {}))

    async def many():
        return await asyncio.gather(*(one(number) for number in range(50)))

    api.set_provider_and_wait(EnsignProvider(client), "compare")
    assert set(asyncio.run(many())) == {"tin"}


def test_a_forked_child_evaluates_reports_and_follows(ensign, client):
    noted = client.counts["noted"]
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        told = {}
        try:
            told["at_once"] = client.value("tier", "none", "u1", {"plan": "pro"})
            told["waited"] = client.wait_ready(20)
            with client.variant("ranker", unit="child").request():
                pass
            told["flushed"] = client.flush(20)
            told["counts"] = client.counts
            told["contact"] = client.contact
        finally:
            os.write(write, json.dumps(told).encode())
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        told = json.loads(pipe.read())
    os.waitpid(child, 0)
    assert told["at_once"] == "gold" and told["waited"] and told["flushed"], told
    assert told["counts"]["acknowledged"] == told["counts"]["noted"] == 2, told
    assert client.counts["noted"] == noted
    assert client.value("tier", "none", "u1", {"plan": "pro"}) == "gold"


def test_openfeature_details_errors_events_and_tracking(ensign, client):
    provider = EnsignProvider(client)
    api.set_provider_and_wait(provider, "events")
    openfeature = api.get_client("events")
    details = openfeature.get_string_details("tier", "none", EvaluationContext("u1", {"plan": "pro"}))
    assert (details.value, details.variant, details.reason) == ("gold", "gold", Reason.TARGETING_MATCH)
    assert details.flag_metadata["revision"] == client.revision
    for method, flag, default, value in cases.TYPES:
        context = EvaluationContext("u1", {"plan": "pro"})
        assert getattr(openfeature, f"get_{method}_value")(flag, default, context) == value
    missing = openfeature.get_string_details("no_such_flag", "mine")
    assert (missing.value, missing.error_code) == ("mine", ErrorCode.FLAG_NOT_FOUND)
    wrong = openfeature.get_boolean_details("tier", False)
    assert (wrong.value, wrong.error_code) == (False, ErrorCode.TYPE_MISMATCH)
    changed = []
    openfeature.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, lambda event: changed.append(event))
    ensign.cli("kill", "tier", "--reason", "drill")
    eventually(lambda: any("tier" in (event.flags_changed or []) for event in changed))
    assert openfeature.get_string_value("tier", "none", EvaluationContext("u1", {"plan": "pro"})) == "tin"
    ensign.cli("restore", "tier")
    before = client.counts["noted"]
    context = EvaluationContext("user-1")
    openfeature.track("helpful", context, TrackingEventDetails(1, {"flags": ["ranker"]}))
    assert client.counts["noted"] >= before + 1
    assert client.flush(20) and client.counts["refused"] == 0


def test_a_cold_start_with_the_server_down_uses_the_copy(ensign, key, tmp_path):
    with ensign_sdk.Client(ensign.url, key, folder=tmp_path, wait=20) as client:
        eventually(lambda: list(tmp_path.iterdir()))
        before = [client.value("ranker", "none", f"u{number}") for number in range(200)]
    ensign.stop()
    try:
        with ensign_sdk.Client(ensign.url, key, folder=tmp_path, wait=0) as cold:
            assert [cold.value("ranker", "none", f"u{number}") for number in range(200)] == before
        with ensign_sdk.Client(ensign.url, key, wait=0) as empty:
            assert empty.variant("ranker", unit="u1", default="mine").error == "PROVIDER_NOT_READY"
    finally:
        ensign.start()


def test_the_readme_example_runs_in_an_empty_environment(ensign, key, tmp_path):
    """`pip install` of the wheel, nothing else, and the six lines as they stand."""
    wheel = os.environ["ENSIGN_WHEEL"]
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-index", "--disable-pip-version-check", wheel]
    subprocess.run(install, check=True)
    for readme in ("README.md", "bindings/python/README.md"):
        text = (ROOT / readme).read_text()
        found = re.search(r"```python\n(from ensign import Client\n.*?)```", text, re.S)
        assert found, readme
        lines = found.group(1).replace("http://127.0.0.1:7070", ensign.url)
        assert len(lines.strip().splitlines()) == 6, lines
        before = f"key = {key!r}\ndef answer(model):\n    return 420, 96\n"
        script = before + lines + "assert client.flush(20) and client.counts['refused'] == 0, client.counts\n"
        subprocess.run([python, "-c", script], check=True, timeout=60)
