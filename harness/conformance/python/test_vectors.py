"""Runs all vectors of the document against ``tenure_wire``: ``python3 -m unittest test_vectors`` in this folder."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import unittest
from typing import Any

import tenure_wire as wire

VECTORS = pathlib.Path(__file__).resolve().parents[3] / "impl/wire/tests/vectors"
CODES = {"Malformed": 0, "TooLarge": 1, "Version": 2, "Unknown": 3, "Unexpected": 4}
FAULTS = {**CODES, "Busy": 5, "ShuttingDown": 6, "Silent": 7, "Slow": 8, "Forbidden": 9, "Internal": 10}
REASONS = ["Expiry", "Try", "Wait", "Operator"]
REVOCATIONS = ["RecallDeadline", "Fenced"]
REFUSALS = ["WouldBlock", "Cancelled", "Deadline", "Deadlock", "Limit", "Gone", "AlreadyLocked", "NotHeld", "IdTaken", "ShuttingDown",
            "Absent", "Unsupported"]
LIMITS = ["Processes", "Grants", "Waiters", "Attributes", "AttributeBytes", "SessionBytes", "Threads", "Storage"]


def load(file: str) -> tuple[wire.Limits, list[dict[str, Any]]]:
    doc = json.loads((VECTORS / file).read_text())
    limits = doc["limits"]
    return wire.Limits(limits["frame_bytes_max"], limits["changes_max"], limits["items_max"]), doc["vectors"]


def as_json(value: Any, field: str = "") -> Any:
    """A value of a message as the vectors spell it."""
    match value:
        case wire.Stamp():
            return {"epoch": value.epoch, "sequence": value.sequence}
        case wire.Hold():
            return {"session": list(value.session), "token": as_json(value.token)}
        case wire.Notice():
            return {"deadline_ms": value.deadline_ms, "reason": REASONS[value.reason]}
        case wire.State(kind, delta):
            return "Unchanged" if kind == 0 else {["Delta", "Full"][kind - 1]: as_json(delta)}
        case wire.Refusal(kind, cycle, limit):
            if kind == wire.DEADLOCK:
                return {"Deadlock": {"cycle": [list(name) for name in cycle]}}
            return {"Limit": LIMITS[limit]} if limit is not None else REFUSALS[kind]
        case wire.StoreLimits():
            return dataclasses.asdict(value)
        case wire.Wish():
            return {name: as_json(getattr(value, name), name) for name in ("known", "patience", "request", "session", "ticket")}
        case dict():
            return {"changes": [{"name": list(key), "value": None if entry is None else list(entry)} for key, entry in value.items()]}
        case bytes():
            return list(value)
        case list() | tuple():
            return [as_json(entry) for entry in value]
    if field == "limit" and value is not None:
        return LIMITS[value]
    if field == "patience":
        return ["Try", "Wait"][value]
    return REVOCATIONS[value] if field == "why" else value


def known(item: Any) -> Any:
    """An item as this codec keeps it: without the version of the frame in which a welcome is written."""
    if isinstance(item, dict) and isinstance(message := item.get("Message"), dict) and "Welcome" in message:
        del message["Welcome"]["minor"]
    return item


def item(message: wire.Message) -> Any:
    """A message as the vectors spell it."""
    kind = type(message).__name__
    fields = {name: as_json(getattr(message, name), name) for name in (field.name for field in dataclasses.fields(message))}
    if isinstance(message, wire.Fault):
        names = {code: name for name, code in FAULTS.items()}
        return {"Fault": {"code": names.get(message.code, {"Other": message.code}), "text": message.text}}
    if isinstance(message, wire.Hello):
        fields["link"] = {"incarnation": fields.pop("incarnation"), "number": fields.pop("link")}
        return {"Hello": fields}
    for absent in ("existing", "limits", "limit"):  # they came later than 1.0, and are left out
        if not fields.get(absent, True):
            del fields[absent]
    if isinstance(message, wire.Release):
        fields["requeue"] = fields.pop("request")
    if isinstance(message, wire.Welcome):
        fields["gone"] = fields.pop("ended")
    if isinstance(message, wire.Recall):
        fields["hold"] = {"session": fields.pop("session"), "token": fields.pop("token")}
    return {"Message": {kind: fields} if fields else kind}


class Vectors(unittest.TestCase):
    def test_valid(self) -> None:
        limits, vectors = load("valid.json")
        for vector in vectors:
            with self.subTest(vector["name"]):
                data = bytes.fromhex(vector["hex"])
                messages = list(wire.Decoder(vector["from"] == "store", limits).feed(data))
                expected = [known(one) for one in json.loads(json.dumps(vector["items"]))]
                self.assertEqual([order(item(message)) for message in messages], [order(one) for one in expected])
                if vector["canonical"]:
                    self.assertEqual(b"".join(map(wire.encode, messages)), data)

    def test_bytewise(self) -> None:
        """It makes no difference how the stream is cut."""
        limits, vectors = load("valid.json")
        for vector in vectors:
            with self.subTest(vector["name"]):
                data = bytes.fromhex(vector["hex"])
                decoder = wire.Decoder(vector["from"] == "store", limits)
                pieces = [message for at in range(len(data)) for message in decoder.feed(data[at : at + 1])]
                self.assertEqual(pieces, list(wire.Decoder(vector["from"] == "store", limits).feed(data)))

    def test_invalid(self) -> None:
        limits, vectors = load("invalid.json")
        for vector in vectors:
            with self.subTest(vector["name"]):
                decoder = wire.Decoder(vector["from"] == "store", limits)
                code = None
                try:
                    messages = list(decoder.feed(bytes.fromhex(vector["hex"])))
                    self.assertEqual(messages, [])
                except wire.WireError as error:
                    code = error.code
                self.assertEqual(code, None if vector["code"] is None else CODES[vector["code"]])

    def test_parts(self) -> None:
        """A long hello goes on, and comes back whole."""
        holds = [wire.Hold(b"s%d" % n, wire.Stamp(1, n)) for n in range(20_000)]
        waits = [wire.Wish(b"w%d" % n, n, wire.WAIT) for n in range(3_000)]
        hello = wire.Hello(1, b"p", 1, 1, 0, holds, waits)
        data = wire.encode(hello)
        self.assertGreater(len(data), 3 * wire.PART_BYTES)
        self.assertEqual(list(wire.Decoder(False).feed(data)), [hello])


def order(one: Any) -> Any:
    """The order of changes says nothing (r[wire.lenient])."""
    if isinstance(one, dict):
        return {key: order(entry) if key != "changes" else sorted(entry, key=str) for key, entry in one.items()}
    return [order(entry) for entry in one] if isinstance(one, list) else one


if __name__ == "__main__":
    unittest.main()
