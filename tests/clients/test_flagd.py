"""The unmodified flagd provider for Python against a real server: remote and in process."""

import os
import queue
import time

import grpc
import pytest
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

import cases

EVENT = 20.0


def provider(ensign, mode, key=None):
    """A provider with the SDK key as a bearer token, or as the first label of the authority."""
    host, port = ensign.url.removeprefix("http://").split(":")
    settings = {"host": host, "port": int(port), "resolver_type": mode, "deadline_ms": 5000}
    key = key or ensign.environment()["sdk_key"]
    if mode == ResolverType.RPC:
        credentials = grpc.composite_channel_credentials(
            grpc.local_channel_credentials(), grpc.access_token_call_credentials(key)
        )
        return FlagdProvider(**settings, tls=True, channel_credentials=credentials)
    return FlagdProvider(**settings, tls=False, default_authority=f"{key}.ensign")


@pytest.fixture(scope="module", params=[ResolverType.RPC, ResolverType.IN_PROCESS], ids=["rpc", "in_process"])
def client(ensign, request):
    cases.apply(ensign)
    domain = f"flagd-{request.param.value}"
    api.set_provider(provider(ensign, request.param), domain)
    client = api.get_client(domain)
    ready = queue.Queue()
    client.add_handler(ProviderEvent.PROVIDER_READY, lambda _: ready.put(1))
    ready.get(timeout=EVENT)
    client.mode = request.param
    yield client
    api.get_provider(domain).shutdown() if hasattr(api, "get_provider") else None


def test_types_variants_and_reasons(client):
    context = EvaluationContext("u1", {"plan": "pro"})
    for method, flag, default, value in cases.TYPES:
        details = getattr(client, f"get_{method}_details")(flag, default, context)
        assert details.value == value, (flag, details)
        assert details.error_code is None, details
        assert details.variant, details
    matched = client.get_string_details("tier", "none", context)
    assert (matched.value, matched.reason) == ("gold", Reason.TARGETING_MATCH)
    unmatched = client.get_string_details("tier", "none", EvaluationContext("u1", {"plan": "free"}))
    assert (unmatched.value, unmatched.reason) == ("tin", Reason.DEFAULT)


def test_errors_are_the_specifications(client):
    context = EvaluationContext("u1", {})
    missing = client.get_string_details("no_such_flag", "mine", context)
    assert (missing.value, missing.error_code) == ("mine", ErrorCode.FLAG_NOT_FOUND)
    wrong = client.get_boolean_details("tier", False, context)
    assert (wrong.value, wrong.error_code) == (False, ErrorCode.TYPE_MISMATCH)


def test_five_thousand_contexts(ensign, client):
    """Every flag the mode carries gives Ensign's own answer; a flag it does not carry gives an error."""
    exact = cases.exact_flags(ensign)
    flags = cases.STRINGS if client.mode == ResolverType.RPC else [flag for flag in cases.STRINGS if flag in exact]
    expected = cases.answers(ensign, flags)
    for number, answers in enumerate(expected):
        context = cases.context(number)
        key = context.pop("targetingKey", None)
        for flag, value in answers.items():
            got = client.get_string_value(flag, "none", EvaluationContext(key, context))
            assert got == value, (number, flag, context)
    if client.mode == ResolverType.IN_PROCESS:
        left_out = [flag for flag in cases.STRINGS if flag not in exact]
        assert "ranker" in left_out
        for flag in left_out:
            details = client.get_string_details(flag, "mine", EvaluationContext("u1", {}))
            assert (details.value, details.error_code) == ("mine", ErrorCode.FLAG_NOT_FOUND)


def test_changes_arrive_also_after_a_restart(ensign, client):
    changed = queue.Queue()
    client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, lambda event: changed.put(event.flags_changed))
    context = EvaluationContext("u1", {"plan": "pro"})

    def eventually(value):
        for _ in range(400):
            if client.get_string_value("tier", "none", context) == value:
                return
            time.sleep(0.05)
        raise AssertionError(f"tier did not become {value}")

    eventually("gold")
    while not changed.empty():
        changed.get()
    ensign.cli("kill", "tier", "--reason", "drill")
    while "tier" not in (changed.get(timeout=EVENT) or []):
        pass
    eventually("tin")
    ensign.restart()
    ensign.cli("restore", "tier")
    eventually("gold")


def test_a_wrong_key_makes_no_provider_ready(ensign):
    domain = "flagd-wrong"
    wrong = provider(ensign, ResolverType.IN_PROCESS, "ens-sdk-wrong")
    wrong.config.deadline_ms = 500
    api.set_provider(wrong, domain)
    details = api.get_client(domain).get_string_details("tier", "mine", EvaluationContext("u1", {}))
    assert details.value == "mine"
    wrong.shutdown()
