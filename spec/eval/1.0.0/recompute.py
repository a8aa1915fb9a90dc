"""Recomputes bucketing.json with the standard library alone."""
import hashlib
import json
import pathlib

WHOLE = 0xFFFFFFFFFFFFFFF
for case in json.loads((pathlib.Path(__file__).parent / "bucketing.json").read_text()):
    digits = hashlib.sha1(case["hashed"].encode()).hexdigest()[:15]
    number = int(digits, 16)
    fraction = number / WHOLE
    assert digits == case["digits"], case
    assert number == int(case["integer"]), case
    assert f"{fraction:.10f}" == case["fraction"], case
    assert int(fraction * 100000) == case["position"], case
print("ok")
