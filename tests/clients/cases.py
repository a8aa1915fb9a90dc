"""Flags and contexts that every client is asked about, and Ensign's own answers."""

import concurrent.futures
import http.client
import json

DOCUMENTS = """\
segment: beta
owner: growth
includes: [user-7]
rules:
  - condition: {plan: [pro, team], age: {gt: 30}}
---
flag: tier
default: tin
rules:
  - {condition: {plan: pro}, value: gold}
---
flag: audience
default: everyone
rules:
  - {condition: {segment: beta}, value: beta}
  - {condition: {not: {plan: free}, email: {ends_with: "@example.com"}}, value: paying}
  - {condition: {any: [{plan: [odd]}, {age: {lte: 3}}]}, value: odd}
---
flag: ranker
default: one
variants: [one, two, three]
split: {one: 20, two: 50, three: 30}
---
flag: gated
default: old
rules:
  - {condition: {plan: [pro, free], rollout_percentage: 40}, value: new}
---
flag: top_k
default: 8
---
flag: temperature
default: 1.0
---
flag: stream_answers
default: true
---
flag: format
default: {style: markdown, words: {max: 200}}
"""

# Accessor, flag, default, value.
TYPES = [
    ("boolean", "stream_answers", False, True),
    ("integer", "top_k", 0, 8),
    ("float", "temperature", 0.0, 1.0),
    ("object", "format", {}, {"style": "markdown", "words": {"max": 200}}),
    ("string", "tier", "none", "gold"),
]

STRINGS = ["tier", "audience", "ranker", "gated"]
CONTEXTS = 5_000
PLACE = "/api/v1/projects/default/environments/production"


def apply(ensign):
    (ensign.data / "cases.yaml").write_text(DOCUMENTS)
    ensign.cli("apply", str(ensign.data / "cases.yaml"))


def context(number):
    """One of many contexts: some attributes missing, some without a key."""
    plans = ["free", "pro", "team", "odd"]
    made = {
        "targetingKey": f"user-{number}",
        "plan": plans[number % 4],
        "age": number % 60,
        "email": f"u{number}@{'example.com' if number % 3 else 'other.org'}",
    }
    if number % 13 == 0:
        del made["targetingKey"]
    if number % 17 == 0:
        del made["plan"]
    if number % 19 == 0:
        del made["age"]
    return made


def exact_flags(ensign):
    """The flags that flagd's own evaluators compute exactly, by the server's account."""
    _, told = ensign.request("GET", f"{PLACE}/flagd")
    left_out = {item["flag"] for item in told["left_out"]}
    _, flags = ensign.request("GET", f"{PLACE}/flags")
    flags = flags["flags"] if isinstance(flags, dict) else flags
    return {flag.get("key") or flag.get("flag") for flag in flags} - left_out


_known = {}


def answers(ensign, flags=tuple(STRINGS)):
    """Ensign's own answers, asked of the evaluator behind the API. The same documents give the same answers on every
    server, so they are asked for once."""
    if not _known:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for part in pool.map(lambda at: _ask(ensign, range(at, CONTEXTS, 8)), range(8)):
                _known.update(part)
    return [{flag: _known[number][flag] for flag in flags} for number in range(CONTEXTS)]


def _ask(ensign, numbers):
    host = ensign.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=30)
    headers = {"Authorization": f"Bearer {ensign.credentials['admin_token']}", "Content-Type": "application/json"}
    found = {}
    for number in numbers:
        found[number] = {}
        for flag in STRINGS:
            body = json.dumps({"flag": flag, "context": context(number)})
            connection.request("POST", f"{PLACE}/evaluate", body, headers)
            answer = connection.getresponse()
            told = json.loads(answer.read())
            assert answer.status == 200, told
            found[number][flag] = told["value"]
    return found
