"""The unmodified OFREP provider for Python against a real server."""

import json

import pytest
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

# Exactly as a team writes it: spacing, order and all.
DOCUMENT = """\
{ "flag": "inference_model", "default": "claude-3-haiku",
  "rules": [ { "condition": {"user_segment": "internal"}, "value": "claude-opus-4-6" },
             { "condition": {"rollout_percentage": 10},  "value": "claude-sonnet-4-6" } ] }
"""

TYPES = """\
{"flag": "retrieval_top_k", "default": 8}
---
{"flag": "temperature", "default": 1.0}
---
{"flag": "stream_answers", "default": true}
---
{"flag": "response_format", "default": {"style": "markdown", "max_words": 200}}
"""

USERS = 10_000


@pytest.fixture(scope="module")
def client(ensign):
    """An OpenFeature client of the production environment with the flags applied."""
    (ensign.data / "inference_model.json").write_text(DOCUMENT)
    (ensign.data / "types.yaml").write_text(TYPES)
    ensign.cli("apply", str(ensign.data / "inference_model.json"), str(ensign.data / "types.yaml"))
    key = ensign.environment()["sdk_key"]
    api.set_provider(OFREPProvider(ensign.url, headers_factory=lambda: {"Authorization": f"Bearer {key}"}))
    yield api.get_client()
    api.shutdown()


def model(client, user: int) -> str:
    """The model of one user; every tenth is internal."""
    segment = "internal" if user % 10 == 0 else "external"
    context = EvaluationContext(f"user-{user}", {"user_segment": segment})
    return client.get_string_value("inference_model", "no answer", context)


def test_ten_thousand_users_get_the_model_of_their_rule_and_keep_it(client):
    first = [model(client, user) for user in range(USERS)]
    internal = first[::10]
    others = [value for user, value in enumerate(first) if user % 10]
    assert set(internal) == {"claude-opus-4-6"}
    assert set(others) == {"claude-sonnet-4-6", "claude-3-haiku"}
    share = others.count("claude-sonnet-4-6") / len(others)
    assert 0.09 <= share <= 0.11, share
    again = [model(client, user) for user in range(0, USERS, 7)]
    assert again == first[::7]


def test_reason_variant_and_metadata_are_understood(client):
    context = EvaluationContext("user-1", {"user_segment": "internal"})
    details = client.get_string_details("inference_model", "no answer", context)
    assert (details.value, details.variant) == ("claude-opus-4-6", "claude-opus-4-6")
    assert details.reason == Reason.TARGETING_MATCH
    assert details.error_code is None
    assert details.flag_metadata["flagSetId"] == "default/production"


@pytest.mark.parametrize(
    ("method", "flag", "default", "expected"),
    [
        ("get_integer_value", "retrieval_top_k", 0, 8),
        ("get_float_value", "temperature", 0.0, 1.0),
        ("get_boolean_value", "stream_answers", False, True),
        ("get_object_value", "response_format", {}, {"style": "markdown", "max_words": 200}),
    ],
)
def test_every_type_arrives_as_its_type(client, method, flag, default, expected):
    value = getattr(client, method)(flag, default, EvaluationContext("user-1"))
    assert value == expected
    assert type(value) is type(expected)


def test_a_missing_flag_and_a_wrong_type_give_the_default_with_the_error_code(client):
    missing = client.get_string_details("no_such_flag", "mine", EvaluationContext("user-1"))
    assert (missing.value, missing.error_code) == ("mine", ErrorCode.FLAG_NOT_FOUND)
    mistyped = client.get_boolean_details("inference_model", False, EvaluationContext("user-1"))
    assert (mistyped.value, mistyped.error_code) == (False, ErrorCode.TYPE_MISMATCH)


def test_a_kill_is_served_by_the_next_evaluation(ensign, client):
    context = EvaluationContext("user-1", {"user_segment": "internal"})
    ensign.cli("kill", "inference_model", "--reason", "drill")
    assert client.get_string_value("inference_model", "no answer", context) == "claude-3-haiku"
    ensign.cli("restore", "inference_model")
    assert client.get_string_value("inference_model", "no answer", context) == "claude-opus-4-6"


def test_a_wrong_key_is_refused(ensign):
    request = {"context": {"targetingKey": "user-1"}}
    with pytest.raises(Exception) as refused:
        ensign.request("POST", "/ofrep/v1/evaluate/flags/inference_model", request, token="sdk-wrong")
    assert getattr(refused.value, "code", None) == 401


def test_bulk_evaluation_is_cached_by_context(ensign, client):
    import urllib.error
    import urllib.request

    def bulk(context, etag=None):
        headers = {
            "Authorization": f"Bearer {ensign.environment()['sdk_key']}",
            "Content-Type": "application/json",
        }
        if etag:
            headers["If-None-Match"] = etag
        body = json.dumps({"context": context}).encode()
        request = urllib.request.Request(
            ensign.url + "/ofrep/v1/evaluate/flags", data=body, headers=headers, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.headers["ETag"], json.loads(answer.read())
        except urllib.error.HTTPError as answer:
            return answer.code, answer.headers["ETag"], None

    internal = {"targetingKey": "user-1", "user_segment": "internal"}
    status, tag, body = bulk(internal)
    assert status == 200
    assert len(body["flags"]) == 5
    assert bulk(internal, tag)[0] == 304
    assert bulk({**internal, "user_segment": "external"}, tag)[0] == 200
