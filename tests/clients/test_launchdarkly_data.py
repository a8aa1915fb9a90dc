"""Unmodified LaunchDarkly SDKs against a real server: flags, changes, restarts, and the same variant everywhere."""

import json
import os
import threading
import time

import pytest
from ldclient import Config, Context, LDClient
from ldclient.integrations import Files

from serving import Restartable
from test_ofrep import DOCUMENT
from worlds import Draw

SEED = 20_261
MODELS = {"internal": "claude-opus-4-6", "canary": "claude-sonnet-4-6", "other": "claude-3-haiku"}


def connect(url: str, key: str, wait: float = 10) -> LDClient:
    """A client as an application makes it, with only the addresses changed."""
    config = Config(key, base_uri=url, stream_uri=url, events_uri=url, send_events=False, diagnostic_opt_out=True)
    return LDClient(config, start_wait=wait)


def user(key: str, segment: str = "external") -> Context:
    return Context.from_dict({"kind": "user", "key": key, "user_segment": segment})


def people(ensign) -> dict:
    """One of each: internal, in the canary's ten percent, and another."""
    found = {"internal": user("someone", "internal")}
    for number in range(500):
        context = {"targetingKey": f"user-{number}", "user_segment": "external"}
        path = "/api/v1/projects/default/environments/production/evaluate"
        _, answer = ensign.request("POST", path, {"flag": "inference_model", "context": context})
        name = {"claude-sonnet-4-6": "canary", "claude-3-haiku": "other"}[answer["value"]]
        found.setdefault(name, user(f"user-{number}"))
        if len(found) == 3:
            return found
    raise AssertionError(found)


def until(what, seconds: float = 20):
    """Waits for something that another process brings about; there is no signal to wait for between processes."""
    end, pause = time.monotonic() + seconds, threading.Event()
    while time.monotonic() < end:
        if what():
            return
        pause.wait(0.01)
    raise AssertionError("it did not happen in time")


def test_the_model_flag_through_changes_and_a_restart(tmp_path):
    server = Restartable(os.environ["ENSIGN_BINARY"], tmp_path / "data")
    ensign = server.start()
    client = None
    try:
        (tmp_path / "f.json").write_text(DOCUMENT)
        ensign.cli("apply", str(tmp_path / "f.json"))
        who = people(ensign)
        for prefix in ["", "/ld"]:
            client = connect(ensign.url + prefix, ensign.environment()["sdk_key"])
            assert client.is_initialized()
            got = {name: client.variation("inference_model", context, "default") for name, context in who.items()}
            assert got == MODELS
            detail = client.variation_detail("inference_model", who["internal"], "default")
            assert (detail.variation_index, detail.reason["kind"]) == (1, "RULE_MATCH")
            if not prefix:
                client.close()

        def model(name):
            return client.variation("inference_model", who[name], "default")

        changes = []
        client.flag_tracker.add_listener(lambda change: changes.append(change.key))
        ensign.cli("kill", "inference_model", "--reason", "drill")
        until(lambda: model("internal") == "claude-3-haiku")
        until(lambda: "inference_model" in changes)
        server.stop()
        assert model("internal") == "claude-3-haiku", "the last known flags are kept while nobody answers"
        ensign = server.start()
        ensign.cli("restore", "inference_model")
        until(lambda: {name: model(name) for name in who} == MODELS, 60)
    finally:
        if client:
            client.close()
        server.stop()


def test_a_wrong_key_is_refused(ensign):
    client = connect(ensign.url, "sdk-wrong", wait=2)
    assert not client.is_initialized()
    assert client.variation("inference_model", user("u"), "mine") == "mine"
    client.close()


def test_polling_and_the_newer_protocol_get_the_same(ensign, tmp_path):
    (tmp_path / "f.json").write_text(DOCUMENT)
    ensign.cli("apply", str(tmp_path / "f.json"))
    who, key = people(ensign), ensign.environment()["sdk_key"]
    polling = Config(key, base_uri=ensign.url, stream=False, send_events=False, diagnostic_opt_out=True)
    from ldclient.datasystem import default

    newer = Config(
        key,
        base_uri=ensign.url,
        stream_uri=ensign.url,
        send_events=False,
        diagnostic_opt_out=True,
        datasystem_config=default().build(),
    )
    for config in [polling, newer]:
        client = LDClient(config, start_wait=10)
        assert client.is_initialized()
        got = {name: client.variation("inference_model", context, "default") for name, context in who.items()}
        client.close()
        assert got == MODELS


def unhashable(flag: dict, context: dict) -> bool:
    """SDKs take a unit that is neither text nor a whole number for the lowest bucket; Ensign takes it for missing."""
    parts = [context.get("user", {})] if context["kind"] == "multi" else [context]
    values = [part[name] for part in parts for name in ("company", "org", "plan") if name in part]
    odd = any(not isinstance(value, (str, int)) or isinstance(value, bool) for value in values)
    return odd and any(word in json.dumps(flag) for word in ('"by"', '"unit"'))


def test_every_sdk_evaluation_is_ensigns_own(ensign, tmp_path):
    """Random flags, segments and contexts: the SDK on streamed data against the server's evaluator."""
    print("seed", SEED)
    draw = Draw(SEED)
    segments, flags = {}, {}
    for at in range(40):
        segments[f"s-{at}"] = draw.ensign_segment(f"s-{at}", list(segments)[-3:])
    for at in range(160):
        flags[f"f-{at}"] = draw.ensign_flag(f"f-{at}", list(flags)[-20:], list(segments))
    path = tmp_path / "world.json"
    path.write_text(json.dumps([*segments.values(), *flags.values()]))
    ensign.cli("apply", str(path), "-e", "staging")
    key = ensign.environment("staging")["sdk_key"]
    client = connect(ensign.url, key)
    assert client.is_initialized()
    compared, explained, reasons = 0, 0, {}
    for turn in range(2):
        if turn:
            # What only acts make: kills, and rollouts that own a split.
            for at in range(0, 160, 9):
                ensign.cli("kill", f"f-{at}", "-e", "staging", "--reason", "drill")
            (tmp_path / "mark.json").write_text('{"flag": "mark", "default": "here"}')
            ensign.cli("apply", str(tmp_path / "mark.json"), "-e", "staging")
            until(lambda: client.variation("mark", user("u"), "") == "here")
        for _ in range(90):
            context = draw.context()
            _, answer = ensign.request("POST", "/ofrep/v1/evaluate/flags", {"context": context}, token=key)
            ours = {flag["key"]: flag.get("value", "default") for flag in answer["flags"]}
            theirs = Context.from_dict(context)
            for name in flags:
                detail = client.variation_detail(name, theirs, "default")
                compared += 1
                reasons[detail.reason["kind"]] = reasons.get(detail.reason["kind"], 0) + 1
                if detail.value == ours.get(name, "default"):
                    continue
                assert unhashable(flags[name], context), (flags[name], context, detail, ours.get(name))
                explained += 1
    client.close()
    print(compared, "compared,", explained, "explained", reasons)
    assert compared >= 20_000 and explained < compared / 100
    for kind in ["OFF", "TARGET_MATCH", "RULE_MATCH", "FALLTHROUGH", "PREREQUISITE_FAILED"]:
        assert reasons.get(kind, 0) > 50, reasons


def offline(path) -> LDClient:
    source = Files.new_data_source(paths=[str(path)])
    client = LDClient(Config("sdk-none", update_processor_class=source, send_events=False), start_wait=10)
    assert client.is_initialized()
    return client


def test_an_import_moves_nobody(tmp_path):
    """Five hundred flags, ten thousand contexts: the SDK on the payload, on what Ensign serves after the import, and on
    what it exports again."""
    server = Restartable(os.environ["ENSIGN_BINARY"], tmp_path / "data")
    ensign = server.start()
    try:
        draw = Draw(SEED + 1)
        payload = draw.payload(500, 60)
        before = tmp_path / "before.json"
        before.write_text(json.dumps(payload))
        done = json.loads(ensign.cli("import", "launchdarkly", str(before), "--json").stdout)
        assert (done["flags"], done["segments"]) == (500, 60), [r for r in done["remarks"] if r["left_out"]]
        after = tmp_path / "after.json"
        after.write_text(ensign.cli("export", "--as", "launchdarkly").stdout)
        clients = [offline(before), connect(ensign.url, ensign.environment()["sdk_key"]), offline(after)]
        assert clients[1].is_initialized()
        keys = list(payload["flags"])
        for number in range(10_000):
            context = Context.from_dict(draw.context())
            for key in draw.r.sample(keys, 20):
                first, *others = [client.variation_detail(key, context, "default") for client in clients]
                for other in others:
                    same = (other.value, other.variation_index) == (first.value, first.variation_index)
                    assert same, (payload["flags"][key], context.to_dict(), first, other)
        for client in clients:
            client.close()
        again = json.loads(ensign.cli("import", "launchdarkly", str(after), "--json").stdout)
        assert again["flags"] == 500
    finally:
        server.stop()


def test_an_import_names_what_it_does_not_understand(ensign, tmp_path):
    flag = Draw(1).ld_flag("odd", [], [])
    flag.update(on=True, rules=[], trackEvents=True, holiday=7, fallthrough={"variation": 0}, prerequisites=[])
    broken = {**flag, "key": "broken", "fallthrough": {}}
    path = tmp_path / "payload.json"
    path.write_text(json.dumps({"flags": {"odd": flag, "broken": broken}, "segments": {}}))
    done = ensign.cli("import", "launchdarkly", str(path), "--dry-run").stdout
    assert '"holiday"' in done and "tracking" in done and "Left out" in done and "flag broken" in done
    with pytest.raises(AssertionError, match="flags"):
        path.write_text("{}")
        ensign.cli("import", "launchdarkly", str(path))
