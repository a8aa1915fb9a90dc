"""Random documents of Ensign, random payloads of LaunchDarkly, and contexts for both, all from one seed."""

import random

KINDS = ["user", "org", "device"]
ATTRIBUTES = ["plan", "country", "n", "company", "tags", "obj", "when", "ver", "/obj/x", "name", "anonymous", "key"]
TEXTS = ["pro", "free", "a", "ü", "org", "acme", "user-7", "a-plan-of-more-than-fifteen-bytes"]
DATES = ["2026-01-02T03:04:05Z", "2026-01-02T05:04:05+02:00", "2025-12-31T23:59:59.5Z", 1767323045000]
VERSIONS = ["2", "2.0", "2.0.0-rc.1", "1.10.0", "1.9", "2.0.0+b"]


class Draw:
    """Everything random comes from here."""

    def __init__(self, seed: int):
        self.r = random.Random(seed)

    def pick(self, items):
        return self.r.choice(items)

    def chance(self, one_in: int) -> bool:
        return self.r.randrange(one_in) == 0

    def key(self) -> str:
        return self.pick(["user-%d", "acme-%d", "ü-%d"]) % self.r.randrange(12)

    def keys(self) -> list[str]:
        return [self.key() for _ in range(self.r.randrange(1, 4))]

    def scalar(self):
        return self.pick([self.pick(TEXTS), self.r.randrange(4), True, False, 2.5, self.key()])

    # contexts

    def context(self) -> dict:
        shape = self.r.randrange(8)
        if shape < 4:
            return {"kind": "user", **self.part()}
        if shape == 4:
            return {"kind": "org", **self.part()}
        kinds = [kind for kind in KINDS if not self.chance(3)] or ["user"]
        return {"kind": "multi", **{kind: self.part() for kind in kinds}}

    def part(self) -> dict:
        part = {"key": self.key()}
        for _ in range(self.r.randrange(7)):
            name = self.pick(["plan", "country", "n", "company", "tags", "obj", "when", "ver", "name", "anonymous", "org"])
            part[name] = {
                "n": lambda: self.pick([0, 1, 1.0, 2.5, -3]),
                "tags": lambda: [self.pick(TEXTS), self.r.randrange(3)],
                "obj": lambda: {"x": self.scalar()},
                "when": lambda: self.pick(DATES),
                "ver": lambda: self.pick(VERSIONS),
                "name": lambda: self.pick(["Ann", "pro"]),
                "anonymous": lambda: self.chance(2),
                "company": lambda: self.pick(["acme", "acme-1", 7, "user-3"]),
                "org": lambda: self.pick(["acme", "acme-1", 42]),
            }.get(name, lambda: self.scalar())()
        return part

    # Ensign

    def comparison(self):
        kind = self.r.randrange(8)
        if kind < 3:
            return self.pick([self.scalar(), [self.scalar(), self.scalar()], {"not_in": [self.scalar()]}])
        if kind == 3:
            return {self.pick(["starts_with", "ends_with", "contains"]): self.pick(["a", "pro", "user-", ""])}
        if kind == 4:
            return {"matches": self.pick(["^user-[0-3]$", "pro|free", "[a-f]", "ac+me"])}
        if kind == 5:
            return {self.pick(["lt", "lte", "gt", "gte"]): self.pick([0, 1, 2.5])}
        if kind == 6:
            return {self.pick(["before", "after"]): self.pick(DATES)}
        return {self.pick(["semver_eq", "semver_lt", "semver_gte", "semver_neq"]): self.pick(VERSIONS)}

    def condition(self, segments: list[str], depth: int = 0) -> dict:
        made = {}
        for _ in range(self.pick([1, 1, 2])):
            shape = self.r.randrange(9)
            if shape == 0 and segments:
                made["segment"] = self.pick([self.pick(segments), {"not_in": [self.pick(segments)]}])
            elif shape == 1 and depth < 2:
                made["any"] = [self.condition(segments, depth + 1) for _ in range(2)]
            elif shape == 2 and depth < 2:
                made["not"] = self.condition(segments, depth + 1)
            elif shape == 3 and depth < 2:
                made["all"] = [self.condition(segments, depth + 1)]
            elif shape == 4:
                made["kind"] = self.pick(["user", {"not_in": ["org"]}])
            else:
                name = self.pick(ATTRIBUTES)
                prefix = self.pick(["", "", "", "org:", "device:"])
                made[prefix + name] = self.comparison()
        return made

    def share(self):
        value = self.pick([10, 33.333, 50, 90])
        more = self.pick([{}, {"unit": "org"}, {"by": "company"}, {"by": "org:key"}, {"salt": "own"}, {}])
        return value if not more else {"value": value, **more}

    def split(self, variants: list[str]) -> dict:
        cut = self.pick([0, 1, 12.5, 40, 100])
        first, second = self.r.sample(variants, 2)
        return {"split": [{"variant": first, "percentage": cut}, {"variant": second, "percentage": 100 - cut}]}

    def serve(self, variants: list[str]) -> dict:
        if self.chance(3):
            made = self.split(variants)
            made.update(self.pick([{}, {"unit": "org"}, {"by": "company"}, {"salt": "x"}, {"seed": 61}, {"seed": "flag"}]))
            return made
        return {"variant": self.pick(variants)}

    def ensign_segment(self, key: str, earlier: list[str]) -> dict:
        made = {"segment": key}
        if self.chance(2):
            made["includes"] = {kind: self.keys() for kind in self.r.sample(KINDS, self.r.randrange(1, 3))}
        if self.chance(3):
            made["excludes"] = {kind: self.keys() for kind in self.r.sample(KINDS, 1)}
        rules = []
        for _ in range(self.r.randrange(3)):
            condition = self.condition(earlier)
            if self.chance(2):
                condition["rollout_percentage"] = self.pick([25, {"value": 60, "by": "org:key"}, {"value": 60, "by": "plan"}])
            rules.append({"condition": condition})
        return {**made, "rules": rules}

    def ensign_flag(self, key: str, earlier: list[str], segments: list[str]) -> dict:
        variants = ["a", "b", "c"]
        made = {"flag": key, "type": "string", "variants": variants, "default_variant": self.pick(variants)}
        rules = []
        for _ in range(self.r.randrange(4)):
            condition = {} if self.chance(8) else self.condition(segments)
            serve = self.serve(variants)
            if "variant" in serve and self.chance(2):
                condition["rollout_percentage"] = self.share()
            rules.append({"condition": condition, **serve})
        made["rules"] = rules
        if self.chance(3):
            made.update(self.split(variants))
            if self.chance(3):
                made["unit"] = "org"
        if self.chance(4):
            made["targets"] = [
                {"unit": self.pick(KINDS), "keys": self.keys(), "variant": self.pick(variants)} for _ in range(3)
            ]
        if self.chance(5):
            who = self.pick([{"who": self.keys()}, {"unit": "org", "who": ["acme", "42", *self.keys()]},
                             {"condition": self.condition(segments)}])
            made["pins"] = [{**who, "variant": self.pick(variants), "owner": "o", "reason": "r"}]
        if earlier and self.chance(4):
            made["prerequisites"] = [{"flag": self.pick(earlier), "variant": self.pick(variants)}]
        if self.chance(8):
            made["on"] = False
        off = self.pick([None, None, {"off_variant": "c"}, {"off_variant": None}])
        return {**made, **(off or {})}

    # LaunchDarkly

    def clause(self, segments: list[str]) -> dict:
        if segments and self.chance(4):
            return {"contextKind": "user", "attribute": "", "op": "segmentMatch",
                    "values": self.r.sample(segments, 1), "negate": self.chance(3)}
        op = self.pick(["in", "in", "in", "startsWith", "endsWith", "contains", "matches", "lessThan",
                        "greaterThanOrEqual", "before", "after", "semVerEqual", "semVerLessThan"])
        values = {
            "in": lambda: [self.scalar() for _ in range(self.r.randrange(3))],
            "startsWith": lambda: ["user-", "pr"], "endsWith": lambda: ["1", "e"], "contains": lambda: ["r"],
            "matches": lambda: ["^user-[0-3]$", "pro|free"],
            "lessThan": lambda: [1, "no number"], "greaterThanOrEqual": lambda: [1],
            "before": lambda: [self.pick(DATES)], "after": lambda: [self.pick(DATES), "yesterday"],
        }.get(op, lambda: [self.pick(VERSIONS)])()
        made = {"attribute": self.pick([*ATTRIBUTES, "kind", "segment", "a:b"]), "op": op, "values": values,
                "negate": self.chance(4)}
        if not self.chance(5):
            made["contextKind"] = self.pick(["user", "user", "org"])
        return made

    def clauses(self, segments: list[str]) -> list[dict]:
        return [self.clause(segments) for _ in range(self.pick([0, 1, 1, 1, 2, 2, 3]))]

    def rollout(self, count: int) -> dict:
        cut = self.r.randrange(1, 100_000)
        weights = [(self.r.randrange(count), cut), (self.r.randrange(count), 100_000 - cut)]
        if self.chance(3):
            weights = [(0, 10_000), (1, 20_000), (0, self.pick([70_000, 60_000]))]
        made = {"kind": "rollout", "contextKind": self.pick(["user", "user", "org"]),
                "variations": [{"variation": v, "weight": w, "untracked": False} for v, w in weights]}
        if self.chance(4):
            made["kind"] = "experiment"
            made["variations"][-1]["untracked"] = True
        elif self.chance(2):
            made["bucketBy"] = self.pick(["key", "company", "/obj/x"])
        if self.chance(2):
            made["seed"] = self.r.randrange(-50, 5000) or 1
        return made

    def lands(self, count: int) -> dict:
        if self.chance(2):
            return {"rollout": self.rollout(count)}
        return {"variation": self.r.randrange(count)}

    def ld_segment(self, key: str, earlier: list[str]) -> dict:
        rules = []
        for at in range(self.r.randrange(3)):
            rule = {"id": f"s{at}", "clauses": self.clauses(earlier)}
            if self.chance(2):
                rule["weight"] = self.pick([0, 25_000, 60_000])
                rule["rolloutContextKind"] = self.pick(["user", "org"])
                if self.chance(2):
                    rule["bucketBy"] = "company"
            rules.append(rule)
        return {
            "key": key, "version": 3, "salt": f"salt-{key}", "rules": rules, "unbounded": False, "deleted": False,
            "included": self.keys() if self.chance(2) else [], "excluded": self.keys() if self.chance(3) else [],
            "includedContexts": [{"contextKind": "org", "values": self.keys()}] if self.chance(3) else [],
            "excludedContexts": [{"contextKind": "org", "values": self.keys()}] if self.chance(4) else [],
        }

    def ld_flag(self, key: str, earlier: list[str], segments: list[str]) -> dict:
        variations = self.pick([[True, False], ["x", "y", "z"], [1, 2, 3], [1, 2.5], ["same", "same"],
                                [{"model": {"name": "m"}}, {"model": None}, [1]], [None, "text", 7]])
        count = len(variations)
        users = [{"contextKind": "user", "variation": v, "values": self.keys()} for v in range(count) if self.chance(4)]
        contexts = [{"contextKind": "user", "variation": t["variation"], "values": []} for t in users]
        if self.chance(4):
            contexts.append({"contextKind": "org", "variation": 0, "values": self.keys()})
            self.r.shuffle(contexts)
        rules = [{"id": f"r{at}", "clauses": self.clauses(segments), "trackEvents": False, **self.lands(count)}
                 for at in range(self.r.randrange(4))]
        needed = [{"key": self.pick(earlier), "variation": self.r.randrange(2)}] if earlier and self.chance(5) else []
        return {
            "key": key, "version": self.r.randrange(1, 900), "on": not self.chance(8), "salt": f"salt-{key}",
            "prerequisites": needed, "targets": users,
            "contextTargets": contexts if any(c["contextKind"] != "user" for c in contexts) else [],
            "rules": rules, "fallthrough": self.lands(count),
            "offVariation": self.pick([None, self.r.randrange(count)]), "variations": variations,
            "trackEvents": False, "trackEventsFallthrough": False, "debugEventsUntilDate": None, "clientSide": False,
            "clientSideAvailability": {"usingMobileKey": False, "usingEnvironmentId": False}, "deleted": False,
        }

    def payload(self, flags: int, segments: int) -> dict:
        made = {"flags": {}, "segments": {}}
        for at in range(segments):
            key = f"segment-{at}"
            made["segments"][key] = self.ld_segment(key, list(made["segments"])[-3:])
        for at in range(flags):
            key = f"flag-{at}"
            made["flags"][key] = self.ld_flag(key, list(made["flags"])[-20:], list(made["segments"]))
        return made
