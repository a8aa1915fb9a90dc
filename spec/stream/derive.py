"""Computes the vectors of this folder from the text of docs/reference/stream.md, independently of Ensign."""

import base64
import hashlib
import hmac
import json
from pathlib import Path

HERE = Path(__file__).parent
SET = json.loads((HERE / "ruleset.json").read_text())
MAX = 0xFFFFFFFFFFFFFFF
UNKNOWN = None


class Malformed(Exception):
    pass


def parts(context):
    """The kinds of a context as OpenFeature sends it."""
    if context.get("kind") == "multi":
        found = {kind: dict(part) for kind, part in context.items() if isinstance(part, dict)}
        for part in found.values():
            part.setdefault("key", part.pop("targetingKey", None))
        if "targetingKey" in context and "user" not in found:
            found["user"] = {"key": context["targetingKey"]}
        return found
    user = {name: value for name, value in context.items() if name != "targetingKey"}
    return {"user": {"key": context.get("targetingKey"), **user}}


def lookup(context, kind, attribute):
    part = context.get(kind)
    if part is None:
        return None
    steps = [attribute]
    if attribute.startswith("/"):
        steps = [step.replace("~1", "/").replace("~0", "~") for step in attribute[1:].split("/")]
    value = part
    for step in steps:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def compare(op, have, want):
    if op == "in":
        return have == want and (type(have) is type(want) or (number(have) and number(want)))
    if isinstance(have, str) and isinstance(want, str):
        return {"startsWith": have.startswith, "endsWith": have.endswith, "contains": have.__contains__}.get(
            op, lambda _: False
        )(want)
    if number(have) and number(want):
        return {
            "lessThan": have < want,
            "lessThanOrEqual": have <= want,
            "greaterThan": have > want,
            "greaterThanOrEqual": have >= want,
        }.get(op, False)
    return False


def condition(it, context):
    if "segments" in it:
        found = any(member(SET["segments"][key], key, context) for key in it["segments"] if key in SET["segments"])
        return found != it.get("negate", False)
    if "any" in it:
        all_of = [condition(one, context) for one in it["any"]]
        return True if True in all_of else UNKNOWN if UNKNOWN in all_of else False
    if "all" in it:
        all_of = [condition(one, context) for one in it["all"]]
        return False if False in all_of else UNKNOWN if UNKNOWN in all_of else True
    if "not" in it:
        inner = condition(it["not"], context)
        return UNKNOWN if inner is UNKNOWN else not inner
    have = lookup(context, it["kind"], it["attribute"])
    if have is None:
        return UNKNOWN
    haves = have if isinstance(have, list) else [have]
    found = any(compare(it["op"], one, want) for one in haves for want in it["values"])
    return found != it.get("negate", False)


def holds(conditions, context):
    return all(condition(it, context) is True for it in conditions)


def bucket(text):
    return int(hashlib.sha1(text.encode()).hexdigest()[:15], 16)


def text_of(value):
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return None


def member(segment, key, context):
    def listed(lists):
        return any(context.get(one["kind"], {}).get("key") in one["keys"] for one in lists)

    if listed(segment.get("included", [])):
        return True
    if listed(segment.get("excluded", [])):
        return False
    for rule in segment.get("rules", []):
        if not holds(rule.get("conditions", []), context):
            continue
        if "weight" not in rule:
            return True
        if rule["kind"] not in context:
            continue
        value = text_of(lookup(context, rule["kind"], rule["by"]))
        x = 0.0 if value is None else bucket(f"{key}.{segment['salt']}.{value}") / MAX
        if x < rule["weight"] / 100000:
            return True
    return False


def unit(named, context):
    if isinstance(named, dict):
        return text_of(lookup(context, named["kind"], named["by"]))
    if named in context:
        return text_of(context[named].get("key"))
    return text_of(lookup(context, "user", named))


def result(variant, why, **decision):
    return {"variant": variant, "why": why, **decision}


def outcome(flag, key, it, context, why):
    if "gate" in it:
        gate = it["gate"]
        value = unit(gate["unit"], context)
        if value is None or not bucket(f"{gate['id']}.{gate['salt']}.{value}") / MAX < gate["weight"] / 100000:
            return None
        return result(it["variant"], why)
    if "split" in it:
        split = it["split"]
        value = unit(split["unit"], context)
        share = lambda variant: sum(i["weight"] for i in split["intervals"] if i["variant"] == variant)
        of = {"split": split["id"], "epoch": split["epoch"]}
        if value is None:
            return result(split["control"], why, **of, share=share(split["control"]), compared=False)
        prefix = split.get("seed", f"{key}.{flag['salt']}")
        x, total, chosen = bucket(f"{prefix}.{value}") / MAX, 0.0, split["intervals"][-1]
        for interval in split["intervals"]:
            total += interval["weight"] / 100000
            if x < total:
                chosen = interval
                break
        compared = not chosen.get("untracked", False)
        return result(chosen["variant"], why, **of, share=share(chosen["variant"]), compared=compared)
    return result(it["variant"], why)


def evaluate(key, context, above=()):
    flag = SET["flags"].get(key)
    if flag is None:
        return result(None, "flag_not_found")
    if "kill" in flag:
        return result(flag["kill"], "kill")
    if not flag["on"]:
        return result(flag.get("off"), "off")
    for needed in flag.get("prerequisites", []):
        if needed["flag"] in (*above, key):
            return result(None, "malformed")
        other = SET["flags"].get(needed["flag"])
        inner = evaluate(needed["flag"], context, (*above, key)) if other else None
        if inner and inner["why"] == "malformed":
            return inner
        if not other or not (other["on"] or "kill" in other) or inner["variant"] != needed["variant"]:
            return result(flag.get("off"), "prerequisite_failed")
    for pin in flag.get("pins", []):
        if "keys" in pin:
            held = unit(pin["unit"], context) in pin["keys"]
        else:
            held = holds(pin["conditions"], context)
        if held:
            return result(pin["variant"], "pin")
    for target in flag.get("targets", []):
        if context.get(target["kind"], {}).get("key") in target["keys"]:
            return result(target["variant"], "target_match")
    for rule in flag.get("rules", []):
        if holds(rule.get("conditions", []), context):
            decided = outcome(flag, key, rule, context, "rule_match")
            if decided:
                return decided
    return outcome(flag, key, flag["fallthrough"], context, "fallthrough")


def contexts():
    yield {}
    yield {"targetingKey": "user-9"}
    yield {"kind": "multi", "user": {"targetingKey": "user-3"}, "org": {"key": "acme", "seats": 500}}
    yield {"kind": "multi", "org": {"key": "acme", "seats": 5}}
    plans = ["free", "pro", "team"]
    for at in range(40):
        made = {"targetingKey": f"user-{at}", "plan": plans[at % 3], "email": f"u{at}@example.com"}
        if at % 5 == 0:
            made["device"] = {"os": ["ios", "linux"][at % 2]}
        if at % 7 == 0:
            made |= {"age": at / 4, "tags": ["a", "xyz"], "org": "acme"}
        if at % 2:
            made["conversation"] = at * 1000
        if at % 11 == 0:
            del made["plan"]
        yield made


def write(name, json_value):
    lines = ",\n".join("  " + json.dumps(one, ensure_ascii=False) for one in json_value)
    (HERE / name).write_text(f"[\n{lines}\n]\n")


def cases():
    for context in contexts():
        for key in [*SET["flags"], "nowhere"]:
            got = evaluate(key, parts(context))
            value = {}
            if got["variant"] is not None:
                value = {"value": SET["flags"][key]["variants"][got["variant"]]["value"]}
            yield {"flag": key, "context": context, **got, **value}


def buckets():
    for text in ["ranker.rs.user-1", "-61.7000", "gated/g1.x1.user-17", "f.s.Zoë-日本", "f." + "s" * 60 + ".user"]:
        yield {"text": text, "bucket": bucket(text)}


def put(cursor, revision, overlay=0):
    return {"event": "put", "data": {"v": 1, "cursor": cursor, "revision": revision, "overlay": overlay, "flags": {}, "segments": {}}}


def patch(came_from, cursor, revision, overlay=0):
    data = {"v": 1, "from": came_from, "cursor": cursor, "revision": revision, "overlay": overlay, "flags": {}, "segments": {}}
    return {"event": "patch", "data": data}


HELLO = {"event": "hello", "data": {"v": 1, "place": "p/e", "heartbeat_seconds": 24}}
CONNECT = {"connect": True}

SEQUENCES = {
    "the ordinary way": [CONNECT, HELLO, put("a", 1), patch("a", "b", 2), patch("b", "c", 3)],
    "repeated": [CONNECT, HELLO, put("a", 1), patch("a", "b", 2), patch("a", "b", 2), put("b", 2), patch("b", "c", 3)],
    "one lost": [CONNECT, HELLO, put("a", 1), patch("b", "c", 3), CONNECT, HELLO, put("c", 3)],
    "reordered": [CONNECT, HELLO, put("a", 1), patch("b", "c", 3), CONNECT, HELLO, put("c", 3), patch("a", "b", 2)],
    "there and back again, repeated late": [
        CONNECT, HELLO, put("a", 1), patch("a", "b", 1, 1), patch("b", "a", 1, 2), patch("a", "b", 1, 1), patch("a", "c", 2),
    ],
    "a server that is behind": [CONNECT, HELLO, put("b", 2), CONNECT, HELLO, put("a", 1), patch("a", "b", 2), patch("b", "c", 3)],
    "overlays begin anew with a server": [CONNECT, HELLO, put("a", 1, 5), CONNECT, HELLO, patch("a", "b", 1, 1), patch("b", "c", 1, 2)],
    "nothing new": [CONNECT, HELLO, put("a", 1), CONNECT, HELLO, patch("a", "b", 2)],
    "unreadable, and of later versions": [
        CONNECT, HELLO, put("a", 1), {"event": "later", "data": {}}, {"event": "patch", "data": {"v": 2}},
        CONNECT, HELLO, put("a", 1), patch("a", "b", 2),
    ],
}


def frames():
    for name, steps in SEQUENCES.items():
        held, last, whole, done = None, None, False, []
        for step in steps:
            step = dict(step)
            if step.get("connect"):
                step["cursor"] = None if whole or held is None else held["cursor"]
                last = None
                done.append(step)
                continue
            data, then = step["data"], "ignore"
            late = held and data.get("revision") == held["revision"] and last is not None and data["overlay"] <= last
            if step["event"] == "hello":
                then = "take"
            elif step["event"] in ("put", "patch") and data["v"] != 1:
                then = "anew"
            elif step["event"] == "put":
                whole = False
                if held is None or (not late and data["cursor"] != held["cursor"] and data["revision"] >= held["revision"]):
                    then = "take"
            elif step["event"] == "patch":
                if held and data["from"] == held["cursor"] and data["revision"] >= held["revision"] and not late:
                    then = "take"
                elif held and (data["cursor"] == held["cursor"] or data["revision"] < held["revision"] or late):
                    then = "ignore"
                else:
                    then = "anew"
            if then == "take" and step["event"] != "hello":
                held, last, whole = data, data["overlay"], False
            if then == "anew":
                whole = True
            step |= {"then": then, "held": held and held["cursor"]}
            done.append(step)
        yield {"name": name, "steps": done}


def rotate(x, by):
    return ((x << by) | (x >> (64 - by))) & (2**64 - 1)


def siphash128(key, message):
    """SipHash-2-4 with 128 bits of output, from its authors' description."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D ^ 0xEE, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rounds(count):
        for _ in range(count):
            v[0] = (v[0] + v[1]) % 2**64
            v[1] = rotate(v[1], 13) ^ v[0]
            v[0] = rotate(v[0], 32)
            v[2] = (v[2] + v[3]) % 2**64
            v[3] = rotate(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) % 2**64
            v[3] = rotate(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) % 2**64
            v[1] = rotate(v[1], 17) ^ v[2]
            v[2] = rotate(v[2], 32)

    tail = message + bytes(7 - len(message) % 8) + bytes([len(message) % 256])
    for at in range(0, len(tail), 8):
        word = int.from_bytes(tail[at : at + 8], "little")
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    out = b""
    for mark, position in ((0xEE, 2), (0xDD, 1)):
        v[position] ^= mark
        rounds(4)
        out += (v[0] ^ v[1] ^ v[2] ^ v[3]).to_bytes(8, "little")
    return out


def varint(x):
    out = bytearray()
    while x >= 0x80:
        out.append(x % 0x80 + 0x80)
        x //= 0x80
    return bytes([*out, x])


def tokens():
    # XXH3-64 is long; these are its values for the texts shown, by the reference implementation.
    flag_hashes = {"flag/default/production/ranker": 0x5547117D9ECDA37B}
    for kind, unit, split in [("user", "user-17", True), ("org/plan", "Zoë", False)]:
        case = {
            "place": "default/production", "flag": "ranker", "variant": 1, "kind": kind, "unit": unit,
            "time": 1900000000123, "unit_key": "000102030405060708090a0b0c0d0e0f",
            "key": 129, "secret": "20" * 32, "split": "00c0ffee00c0ffee" if split else None, "epoch": 3,
        }
        project, environment = case["place"].split("/")
        hashed = b"".join(part.encode() + b"\0" for part in (project, environment, kind)) + unit.encode()
        body = bytes([1, case["key"], 0]) + varint(case["time"] * 2) + varint(1)
        body += flag_hashes[f"flag/{case['place']}/{case['flag']}"].to_bytes(8, "little")
        body += varint(case["variant"] * 4 + split)
        if split:
            body += bytes.fromhex(case["split"])[::-1] + varint(case["epoch"])
        body += siphash128(bytes.fromhex(case["unit_key"]), hashed)
        signature = hmac.new(bytes.fromhex(case["secret"]), body, hashlib.sha256).digest()[:16]
        yield {**case, "token": base64.urlsafe_b64encode(body + signature).decode().rstrip("=")}


if __name__ == "__main__":
    write("cases.json", cases())
    write("buckets.json", buckets())
    write("frames.json", frames())
    write("tokens.json", tokens())
