"""Microseconds a call, side by side; see README.md."""

import gc
import json
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import ldclient
from ensign import Client
from ensign.openfeature import EnsignProvider
from ldclient.integrations.test_data import TestData
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider.no_op_provider import NoOpProvider

COUNTRIES = ["de", "fr", "it", "es", "nl", "pl", "se", "no"]
ORGS = [f"org-{n}" for n in range(20)]
ATTRIBUTES = {"country": "dk", "plan": "pro", "org": "acme", "version": "2.1.0", "beta": True, "age": 40}
DOCUMENT = {
    "flag": "bench_model",
    "default": "haiku",
    "variants": ["haiku", "sonnet", "opus"],
    "rules": [
        {"condition": {"country": COUNTRIES}, "value": "opus"},
        {"condition": {"org": ORGS}, "value": "opus"},
        {"condition": {"plan": ["pro", "team"]}, "split": {"haiku": 50, "sonnet": 30, "opus": 20}},
    ],
}
FLAGD = {
    "flags": {
        "bench_model": {
            "state": "ENABLED",
            "variants": {"haiku": "haiku", "sonnet": "sonnet", "opus": "opus"},
            "defaultVariant": "haiku",
            "targeting": {
                "if": [
                    {"in": [{"var": "country"}, COUNTRIES]},
                    "opus",
                    {"in": [{"var": "org"}, ORGS]},
                    "opus",
                    {"in": [{"var": "plan"}, ["pro", "team"]]},
                    {"fractional": [["haiku", 50], ["sonnet", 30], ["opus", 20]]},
                ]
            },
        }
    }
}


def best(call, rounds=30, goal=0.05):
    count = 10
    while True:
        began = time.perf_counter()
        for _ in range(count):
            call()
        if time.perf_counter() - began > goal / 4:
            break
        count *= 2
    times = []
    gc.disable()
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(count):
            call()
        times.append((time.perf_counter() - began) / count)
    gc.enable()
    return min(times) * 1e6


def apply(url, admin):
    body = json.dumps({"files": [{"name": "f.json", "text": json.dumps(DOCUMENT)}]}).encode()
    headers = {"Authorization": f"Bearer {admin}", "Content-Type": "application/json"}
    path = "/api/v1/projects/default/environments/production/apply"
    urllib.request.urlopen(urllib.request.Request(url + path, body, headers)).read()


def launchdarkly():
    data = TestData.data_source()
    flag = data.flag("bench_model").variations("haiku", "sonnet", "opus").fallthrough_variation(0)
    flag = flag.if_match("country", *COUNTRIES).then_return(2)
    flag = flag.if_match("org", *ORGS).then_return(2)
    data.update(flag.if_match("plan", "pro", "team").then_return(1))
    config = ldclient.Config("sdk-key", update_processor_class=data, send_events=False)
    client = ldclient.LDClient(config)
    context = ldclient.Context.builder("user-17")
    for name, value in ATTRIBUTES.items():
        context.set(name, value)
    return client, context.build()


def main():
    url, credentials = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    apply(url, credentials["admin_token"])
    client = Client(url, credentials["projects"]["default"]["environments"]["production"]["sdk_key"], wait=10)
    while client.variant("bench_model", unit="user-17", context=ATTRIBUTES).error:
        time.sleep(0.01)
    context = EvaluationContext("user-17", ATTRIBUTES)
    api.set_provider_and_wait(EnsignProvider(client), "ensign")
    api.set_provider_and_wait(NoOpProvider(), "none")
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump(FLAGD, file)
    flagd = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=file.name)
    api.set_provider_and_wait(flagd, "flagd")
    while api.get_client("flagd").get_string_details("bench_model", "", context).error_code:
        time.sleep(0.05)
    ld, ld_context = launchdarkly()
    ensign_of, none_of, flagd_of = (api.get_client(name) for name in ("ensign", "none", "flagd"))
    rows = {
        "Ensign, value": lambda: client.value("bench_model", "x", "user-17", ATTRIBUTES),
        "Ensign, variant": lambda: client.variant("bench_model", unit="user-17", context=ATTRIBUTES, default="x"),
        "LaunchDarkly, variation": lambda: ld.variation("bench_model", ld_context, "x"),
        "flagd in process, provider alone": lambda: flagd.resolve_string_details("bench_model", "x", context),
        "OpenFeature alone": lambda: none_of.get_string_value("bench_model", "x", context),
        "OpenFeature + Ensign": lambda: ensign_of.get_string_value("bench_model", "x", context),
        "OpenFeature + flagd in process": lambda: flagd_of.get_string_value("bench_model", "x", context),
    }
    took = {name: best(call) for name, call in rows.items()}
    for name, micros in took.items():
        print(f"{name:34} {micros:8.2f} µs")
    faster = min(took["LaunchDarkly, variation"], took["flagd in process, provider alone"])
    print(f"{faster / took['Ensign, value']:.0f} × faster than the faster of the two")
    print(f"{took['OpenFeature + Ensign'] / took['OpenFeature alone']:.2f} × what OpenFeature itself costs")
    client.close()


main()
