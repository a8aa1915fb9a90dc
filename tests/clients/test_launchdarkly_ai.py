"""A guarded rollout that an application drives with nothing but the unmodified AI SDK of LaunchDarkly for Python."""

import json
import threading
import time

import pytest
from ldai import LDAIClient
from ldai.providers.types import LDAIMetrics
from ldai.tracker import FeedbackKind, TokenUsage
from ldclient import Config, Context, LDClient

PLACE = "/api/v1/projects/default/environments/production"

# As the AI SDK reads it: the model, its parameters, messages as templates, and judges.
DOCUMENT = """\
use_case: chat
request_timeout: 1s
prices: {claude-3-haiku: {input: 1.0, output: 5.0}, claude-sonnet-4-6: {input: 3.0, output: 15.0}}
---
flag: chat-config
type: json
use_case: chat
client_side: true
variants:
  haiku:
    _ldMeta: {enabled: true, variationKey: haiku, version: 1, mode: completion}
    model: {name: claude-3-haiku, parameters: {temperature: 0.2, maxTokens: 512}, custom: {tier: gold}}
    provider: {name: anthropic}
    messages:
      - {role: system, content: "You help {{ldctx.key}} with {{topic}}."}
      - {role: user, content: "{{question}}"}
    judgeConfiguration: {judges: [{key: relevance-judge, samplingRate: 0.25}]}
  sonnet:
    _ldMeta: {enabled: true, variationKey: sonnet, version: 1, mode: completion}
    model: {name: claude-sonnet-4-6, parameters: {temperature: 0.2}}
    provider: {name: anthropic}
    messages: [{role: system, content: "Be brief."}]
  off:
    _ldMeta: {enabled: false}
default_variant: haiku
---
flag: relevance-judge
type: json
variants:
  judge:
    _ldMeta: {enabled: true, variationKey: judge, version: 1, mode: judge}
    model: {name: claude-3-haiku}
    provider: {name: anthropic}
    messages: [{role: system, content: "Judge {{response_to_evaluate}}."}]
    evaluationMetricKey: "$ld:ai:judge:relevance"
default_variant: judge
---
flag: research-agent
type: json
variants:
  agent:
    _ldMeta: {enabled: true, variationKey: agent, version: 1, mode: agent}
    model: {name: claude-3-haiku}
    provider: {name: anthropic}
    instructions: "Research {{topic}}."
default_variant: agent
"""


class Broken(Exception):
    """What the new model's provider raises."""


@pytest.fixture(scope="module")
def application(ensign):
    """A client with only its addresses changed, and the AI SDK on top of it."""
    (ensign.data / "ai.yaml").write_text(DOCUMENT)
    ensign.cli("apply", str(ensign.data / "ai.yaml"))
    key, url = ensign.environment()["sdk_key"], ensign.url
    client = LDClient(Config(key, base_uri=url, stream_uri=url, events_uri=url, flush_interval=0.5), start_wait=10)
    assert client.is_initialized()
    yield client, LDAIClient(client)
    client.close()


def user(number: int) -> Context:
    return Context.from_dict({"kind": "user", "key": f"user-{number}"})


def until(what, seconds: float = 30):
    """Waits for something that another process brings about; there is no signal to wait for between processes."""
    end, pause = time.monotonic() + seconds, threading.Event()
    while time.monotonic() < end:
        if what():
            return
        pause.wait(0.02)
    raise AssertionError("it did not happen in time")


def test_the_configuration_arrives_whole(application):
    _, ai = application
    config = ai.completion_config("chat-config", user(1), variables={"topic": "tax", "question": "How much?"})
    assert config.enabled and config.model.name == "claude-3-haiku" and config.provider.name == "anthropic"
    assert config.model.get_parameter("temperature") == 0.2
    assert config.model.get_custom("tier") == "gold"
    assert [(m.role, m.content) for m in config.messages] == [
        ("system", "You help user-1 with tax."),
        ("user", "How much?"),
    ]
    judge = config.judge_configuration.judges[0]
    assert (judge.key, judge.sampling_rate) == ("relevance-judge", 0.25)
    judge = ai.judge_config("relevance-judge", user(1))
    assert judge.enabled and judge.evaluation_metric_key == "$ld:ai:judge:relevance"
    agent = ai.agent_config("research-agent", user(1), variables={"topic": "tax"})
    assert agent.enabled and agent.instructions == "Research tax."


def test_errors_take_the_new_model_back_and_the_sdk_serves_control_within_a_second(ensign, application):
    client, ai = application
    spec = {
        "rollout": "chat-config",
        "to": "sonnet",
        "template": False,
        "stages": [{"percentage": 50, "min_duration": "1d"}, 100],
        "guardrails": ["error_rate<=1.5x"],
        "watch": ["latency", "cost", "feedback"],
        "report_lag": "1s",
    }
    ensign.request("POST", f"{PLACE}/rollouts", {"spec": spec})

    def model(number: int) -> str:
        return ai.completion_config("chat-config", user(number)).model.name

    users = range(150)
    until(lambda: {model(number) for number in users} == {"claude-3-haiku", "claude-sonnet-4-6"})
    treated = next(number for number in users if model(number) == "claude-sonnet-4-6")

    def answer(name: str):
        if name == "claude-sonnet-4-6":
            raise Broken
        return {"in": 20, "out": 40}

    def metrics(result) -> LDAIMetrics:
        usage = TokenUsage(total=result["in"] + result["out"], input=result["in"], output=result["out"])
        return LDAIMetrics(success=True, tokens=usage)

    for number in users:
        config = ai.completion_config("chat-config", user(number))
        tracker = config.create_tracker()
        try:
            tracker.track_metrics_of(metrics, lambda: answer(config.model.name))
            tracker.track_feedback({"kind": FeedbackKind.Positive})
        except Broken:
            pass
    client.flush()

    served = []
    changed = threading.Event()

    def listen(change):
        if model(treated) == "claude-3-haiku":
            served.append(time.time())
            changed.set()

    client.flag_tracker.add_listener(listen)
    assert changed.wait(30), ensign.cli("why", "chat-config", check=False).stdout
    assert {model(number) for number in users} == {"claude-3-haiku"}
    _, told = ensign.request("GET", f"{PLACE}/rollouts/chat-config")
    assert told["phase"] == "rolled_back", told
    receipts = ensign.request("GET", f"{PLACE}/rollouts/chat-config/receipts")[1]
    decided = json.dumps(receipts)
    assert "error rate" in decided, decided
    _, history = ensign.request("GET", f"{PLACE}/flags/chat-config/history")
    at = history["history"][-1]["at"]
    from datetime import datetime

    decision = datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()
    assert served[0] - decision < 1.0, (served[0], decision)
    assert ensign.cli("receipts", "verify", "chat-config").returncode == 0


def test_the_ai_sdk_is_among_the_connected_clients(ensign, application):
    listed = json.loads(ensign.cli("clients", "--json").stdout)
    mine = [one for one in listed["clients"] if one["name"] == "PythonClient"]
    assert mine and mine[0]["connected"] and mine[0]["version"] == "9.18.2", listed
    assert mine[0]["behind"] == 0 and mine[0]["warning"] is None, mine
    until(lambda: "launchdarkly-server-sdk-ai" in ensign.cli("clients", "--json").stdout)
    assert "PythonClient" in ensign.cli("clients").stdout
    assert ensign.cli("doctor").returncode == 0
