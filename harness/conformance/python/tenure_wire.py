"""The codec of Tenure's wire, written from ``docs/src/protocol/wire.md`` and ``tenure.cddl``.

``cbor2`` writes all bodies and reads the scalars. It is too lenient for the rest: it takes keys twice, indefinite lengths, tags
(and makes bignums and dates of them), floats where a number is due (``14.0 == 14`` as a key), ``undefined``, any depth, and bytes
behind the value. So the structure is walked here by hand, and ``cbor2`` only sees slices whose type was checked before.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

import cbor2

HEADER = struct.Struct(">IBBHQ")
VERSION = 0x11  # 1.1
EXISTING_SINCE = 1  # the minor version since which a session may be asked for only if it exists
CRITICAL, MORE = 1, 2
U64 = 2**64 - 1
PART_BYTES = 64 * 1024  # how large a part of a message that goes on becomes, about

MALFORMED, TOO_LARGE, BAD_VERSION, UNKNOWN, UNEXPECTED = 0, 1, 2, 3, 4
BUSY, SHUTTING_DOWN, SILENT, SLOW, FORBIDDEN, INTERNAL = 5, 6, 7, 8, 9, 10

EXPIRY, TRY_RECALL, WAIT_RECALL, OPERATOR = 0, 1, 2, 3  # reasons of a recall
TRY, WAIT = 0, 1  # patience
RECALL_DEADLINE, FENCED = 0, 1  # revocations
WOULD_BLOCK, CANCELLED, DEADLINE, DEADLOCK, LIMIT, GONE, ALREADY_LOCKED, NOT_HELD, ID_TAKEN, STOPPING, ABSENT, UNSUPPORTED = range(12)
UNCHANGED, CHANGED, ALL = 0, 1, 2  # states


class WireError(Exception):
    """A frame that has to be refused, and the code of the fault that says why."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a reader takes at most."""

    frame_bytes: int = 4_493_312
    changes: int = 2048
    items: int = 2_097_152


class Stamp(NamedTuple):
    """A number that the store draws; compared by epoch, then sequence."""

    epoch: int
    sequence: int


class Hold(NamedTuple):
    """A grant, as messages name it."""

    session: bytes
    token: Stamp


class Notice(NamedTuple):
    """Why a grant is recalled, and how many milliseconds are left."""

    reason: int
    deadline_ms: int


Delta = dict[bytes, bytes | None]


class State(NamedTuple):
    """What a grant says of the state: nothing, what changed, or all."""

    kind: int
    delta: Delta


class Refusal(NamedTuple):
    """Why a request is refused; a cycle for deadlock, a number for limit."""

    kind: int
    cycle: tuple[bytes, ...] = ()
    limit: int | None = None


@dataclasses.dataclass(frozen=True)
class Wish:
    """A request, as a hello lists it."""

    session: bytes
    request: int
    patience: int
    known: Stamp | None = None
    ticket: Stamp | None = None
    existing: bool = False  # of an acquire: no hello lists such a request


@dataclasses.dataclass(frozen=True)
class StoreLimits:
    """What a store says of its limits, since 1.1."""

    grants_max: int
    waiters_max: int
    attributes_max: int
    attribute_bytes_max: int
    session_bytes_max: int


# ---- reading: the structure, by hand


class Reader:
    """A place in a body."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data, self.at, self.limits = data, 0, limits
        self.items = 0

    def fail(self, text: str, code: int = MALFORMED) -> WireError:
        return WireError(code, f"{text}, at byte {self.at}")

    def take(self, count: int) -> bytes:
        """The next bytes; a body that ends before is refused (r[wire.ill-formed])."""
        if count > len(self.data) - self.at:
            raise self.fail("the body ends within a value")
        self.at += count
        return self.data[self.at - count : self.at]

    def peek(self) -> int:
        if self.at >= len(self.data):
            raise self.fail("the body ends within a value")
        return self.data[self.at]

    def head(self) -> tuple[int, int | None]:
        """The next head: its initial byte, and its argument (None: indefinite). Longer heads than need be are fine (r[wire.lenient])."""
        first = self.take(1)[0]
        low = first & 31
        if low < 24:
            return first, low
        if low < 28:
            return first, int.from_bytes(self.take(1 << (low - 24)))
        if low < 31:
            raise self.fail("a reserved head")  # r[wire.ill-formed]
        return first, None

    def argument(self, major: int, what: str) -> int:
        """The argument of a head that must be of this major type and definite (r[wire.wrong-type])."""
        start = self.at
        first, value = self.head()
        if first >> 5 != major or value is None:
            self.at = start
            raise self.fail(f"{what} is due here")
        return value

    def skip(self, depth: int = 1) -> None:
        """Walks over any well-formed value, at most 16 levels deep (r[wire.unknown-key], r[wire.nested-too-deep], r[wire.ill-formed])."""
        if depth > 16:
            raise self.fail("nested too deep")
        first, value = self.head()
        major = first >> 5
        if major <= 1:
            if value is None:
                raise self.fail("an indefinite number")
        elif major <= 3:
            self.skip_string(major, value)
        elif major <= 5:
            self.skip_items(value, 1 if major == 4 else 2, depth)
        elif major == 6:
            if value is None:
                raise self.fail("an indefinite tag")
            self.skip(depth + 1)
        elif value is None:
            raise self.fail("a break outside of anything")
        elif first == 0xF8 and value < 32:
            raise self.fail("a simple value in too many bytes")

    def skip_string(self, major: int, length: int | None) -> None:
        """Walks over a string. Text need not be UTF-8 to be well-formed (RFC 8949, 1.2), so that is not looked at."""
        if length is not None:
            self.take(length)
            return
        while self.peek() != 0xFF:
            first, chunk = self.head()
            if first >> 5 != major or chunk is None:
                raise self.fail("a chunk of another type")
            self.skip_string(major, chunk)
        self.take(1)

    def skip_items(self, count: int | None, each: int, depth: int) -> None:
        """Walks over the items of an array, or the pairs of a map."""
        if count is not None:
            for _ in range(count * each):  # ends with the body at the latest
                self.skip(depth + 1)
            return
        while self.peek() != 0xFF:
            for _ in range(each):
                self.skip(depth + 1)
        self.take(1)

    def fields(self) -> Iterator[int]:
        """The keys of a map; who iterates reads or skips the value of each. Refuses keys twice and beyond 63."""
        count = self.argument(5, "a map")  # r[wire.ill-formed]
        seen: set[int] = set()
        for _ in range(count):
            key = self.argument(0, "a number for a key")
            if key > 63:
                raise self.fail("a key beyond 63")  # r[wire.key-range]
            if key in seen:
                raise self.fail("a key twice")  # r[wire.duplicate-key]
            seen.add(key)
            yield key

    def scalar(self, start: int) -> Any:
        """The value from ``start`` to here, which was walked over before, by ``cbor2``."""
        return cbor2.loads(self.data[start : self.at])

    def null(self) -> bool:
        """Whether a null comes, which is taken then."""
        if self.peek() == 0xF6:
            self.at += 1
            return True
        return False

    def list_count(self) -> int:
        """The head of a list; counts its items before there is room made for them (r[wire.too-many])."""
        count = self.argument(4, "a list")
        self.items += count
        if self.items > self.limits.items:
            raise self.fail("more items than the limit", TOO_LARGE)
        return count


def utf8(part: bytes, r: Reader) -> str:
    try:
        return part.decode()
    except UnicodeDecodeError:
        raise r.fail("text that is not UTF-8") from None


# ---- reading: the types of the schema


def number(top: int = U64) -> Callable[[Reader], int]:
    def read(r: Reader) -> int:
        start = r.at
        r.argument(0, "a number")
        value: int = r.scalar(start)
        if value > top:
            raise r.fail("a number beyond its range")  # r[wire.wrong-type], r[wire.unknown-choice]
        return value

    return read


def octets(r: Reader) -> bytes:
    start = r.at
    r.take(r.argument(2, "bytes"))
    value: bytes = r.scalar(start)
    return value


def name(r: Reader) -> bytes:
    value = octets(r)
    if not 1 <= len(value) <= 128:
        raise r.fail("a name that is empty or too long")  # r[wire.name-length]
    return value


def fault_text(r: Reader) -> str:
    part = r.take(r.argument(3, "text"))
    if len(part) > 256:
        raise r.fail("a text that is too long")
    return utf8(part, r)


def flag(r: Reader) -> bool:
    byte = r.take(1)[0]
    if byte not in (0xF4, 0xF5):
        raise r.fail("true or false is due here")
    return byte == 0xF5


def array(r: Reader, length: int) -> None:
    if r.argument(4, "an array") != length:
        raise r.fail("an array of another length")  # r[wire.wrong-type]


def stamp(r: Reader) -> Stamp:
    array(r, 2)
    return Stamp(number()(r), number()(r))


def hold(r: Reader) -> Hold:
    array(r, 2)
    return Hold(name(r), stamp(r))


def notice(r: Reader) -> Notice:
    array(r, 2)
    return Notice(number(3)(r), number()(r))


def optional(read: Callable[[Reader], Any]) -> Callable[[Reader], Any]:
    return lambda r: None if r.null() else read(r)


def list_of(read: Callable[[Reader], Any]) -> Callable[[Reader], list[Any]]:
    return lambda r: [read(r) for _ in range(r.list_count())]


def delta(r: Reader) -> Delta:
    count = r.argument(4, "a delta")
    if count > r.limits.changes:
        raise r.fail("more changes than the limit", TOO_LARGE)  # r[wire.too-many]
    changes: Delta = {}
    for _ in range(count):
        array(r, 2)
        key = name(r)
        if key in changes:
            raise r.fail("an attribute twice")  # r[wire.name-twice]
        changes[key] = optional(octets)(r)
    return changes


def state(r: Reader) -> State:
    count = r.argument(4, "a state")
    kind = number(2)(r) if count else 3
    if count != (1 if kind == UNCHANGED else 2):
        raise r.fail("a state of another length")
    return State(kind, {} if kind == UNCHANGED else delta(r))


def refusal(r: Reader) -> Refusal:
    count = r.argument(4, "a refusal")
    kind = number(UNSUPPORTED)(r) if count else UNSUPPORTED + 1
    if count != (2 if kind in (DEADLOCK, LIMIT) else 1):
        raise r.fail("a refusal of another length")
    if kind == DEADLOCK:
        return Refusal(kind, cycle=tuple(list_of(name)(r)))
    return Refusal(kind, limit=number(7)(r)) if kind == LIMIT else Refusal(kind)


def ended(r: Reader) -> tuple[Hold, Hold | None]:
    array(r, 2)
    return hold(r), optional(hold)(r)


def recalled(r: Reader) -> tuple[Hold, Notice]:
    array(r, 2)
    return hold(r), notice(r)


# key -> (name of the field, reader, absent value); REQUIRED: the key must be there (r[wire.missing-key])
REQUIRED: Any = object()
Fields = dict[int, tuple[str, Callable[[Reader], Any], Any]]


def needs(field: str, read: Callable[[Reader], Any]) -> tuple[str, Callable[[Reader], Any], Any]:
    return field, read, REQUIRED


def read_map(r: Reader, fields: Fields) -> dict[str, Any]:
    """Reads a map of the schema, keys in any order."""
    values: dict[str, Any] = {}
    for key in r.fields():
        if key in fields:
            field, read, _ = fields[key]
            values[field] = read(r)
        else:
            r.skip()
    for field, _, absent in fields.values():
        if field not in values:
            if absent is REQUIRED:
                raise r.fail(f"the key of {field} is missing")
            values[field] = absent() if callable(absent) else absent
    return values


SESSION, TOKEN = needs("session", name), needs("token", stamp)
KNOWN, TICKET = ("known", optional(stamp), None), ("ticket", optional(stamp), None)
PATIENCE = needs("patience", number(1))
BASE, DELTA = needs("base", stamp), ("delta", delta, dict)
WISH: Fields = {0: SESSION, 2: needs("request", number()), 7: KNOWN, 8: PATIENCE, 9: TICKET}


STORE_LIMITS: Fields = {34 + at: needs(field.name, number()) for at, field in enumerate(dataclasses.fields(StoreLimits))}
LIMIT_PASSED = ("limit", optional(number(7)), None)


def wish(r: Reader) -> Wish:
    return Wish(**read_map(r, WISH))


def store_limits(r: Reader) -> StoreLimits:
    return StoreLimits(**read_map(r, STORE_LIMITS))


# ---- messages


@dataclasses.dataclass
class Message:
    """What all messages have. ``request`` stands in the header, for kinds that have one."""

    KIND: ClassVar[int]
    FIELDS: ClassVar[Fields]
    LISTS: ClassVar[tuple[str, ...]] = ()  # the lists of a message that may go on


@dataclasses.dataclass
class Fault(Message):
    KIND: ClassVar[int] = 0x00
    FIELDS: ClassVar[Fields] = {30: needs("code", number()), 31: needs("text", fault_text)}
    code: int
    text: str


@dataclasses.dataclass
class Hello(Message):
    KIND: ClassVar[int] = 0x01
    FIELDS: ClassVar[Fields] = {
        14: needs("sent", number()),
        22: needs("process", name),
        23: needs("incarnation", number()),
        24: needs("link", number()),
        25: needs("minor_max", number(255)),
        26: ("holds", list_of(hold), list),
        27: ("waits", list_of(wish), list),
    }
    LISTS: ClassVar[tuple[str, ...]] = ("holds", "waits")
    sent: int
    process: bytes
    incarnation: int
    link: int
    minor_max: int = 0
    holds: list[Hold] = dataclasses.field(default_factory=list)
    waits: list[Wish] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class KeepAlive(Message):
    KIND: ClassVar[int] = 0x02
    FIELDS: ClassVar[Fields] = {14: needs("sent", number())}
    sent: int


@dataclasses.dataclass
class Acquire(Message):
    KIND: ClassVar[int] = 0x03
    FIELDS: ClassVar[Fields] = {0: SESSION, 7: KNOWN, 8: PATIENCE, 9: TICKET, 39: ("existing", flag, False)}
    session: bytes
    request: int
    patience: int
    known: Stamp | None = None
    ticket: Stamp | None = None
    existing: bool = False


@dataclasses.dataclass
class Cancel(Message):
    KIND: ClassVar[int] = 0x04
    FIELDS: ClassVar[Fields] = {0: SESSION}
    session: bytes
    request: int


@dataclasses.dataclass
class Commit(Message):
    KIND: ClassVar[int] = 0x05
    FIELDS: ClassVar[Fields] = {0: SESSION, 1: TOKEN, 4: BASE, 5: DELTA}
    session: bytes
    token: Stamp
    base: Stamp
    delta: Delta = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Release(Message):
    KIND: ClassVar[int] = 0x06
    FIELDS: ClassVar[Fields] = {0: SESSION, 1: TOKEN, 4: BASE, 5: DELTA, 12: ("requeue", flag, False), 13: needs("idle_ms", number())}
    session: bytes
    token: Stamp
    base: Stamp
    idle_ms: int
    delta: Delta = dataclasses.field(default_factory=dict)
    request: int | None = None  # the new request, when it waits again


@dataclasses.dataclass
class Busy(Message):
    KIND: ClassVar[int] = 0x07
    FIELDS: ClassVar[Fields] = {0: SESSION, 1: TOKEN, 16: needs("inside", number(2**32 - 1)), 17: ("blocked_on", list_of(name), list)}
    session: bytes
    token: Stamp
    inside: int
    blocked_on: list[bytes] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Destroy(Message):
    KIND: ClassVar[int] = 0x08
    FIELDS: ClassVar[Fields] = {0: SESSION, 1: TOKEN}
    session: bytes
    token: Stamp


@dataclasses.dataclass
class Rename(Message):
    KIND: ClassVar[int] = 0x09
    FIELDS: ClassVar[Fields] = {0: SESSION, 1: TOKEN, 18: needs("to", name)}
    session: bytes
    token: Stamp
    to: bytes


@dataclasses.dataclass
class Goodbye(Message):
    KIND: ClassVar[int] = 0x0A
    FIELDS: ClassVar[Fields] = {}


@dataclasses.dataclass
class Welcome(Message):
    KIND: ClassVar[int] = 0x41
    FIELDS: ClassVar[Fields] = {
        14: needs("sent", number()),
        15: needs("lease_ms", number()),
        26: ("holds", list_of(hold), list),
        28: ("ended", list_of(ended), list),
        32: ("limits", optional(store_limits), None),
    }
    LISTS: ClassVar[tuple[str, ...]] = ("holds", "ended")
    sent: int
    lease_ms: int
    holds: list[Hold] = dataclasses.field(default_factory=list)
    ended: list[tuple[Hold, Hold | None]] = dataclasses.field(default_factory=list)
    limits: StoreLimits | None = None


@dataclasses.dataclass
class Alive(Message):
    KIND: ClassVar[int] = 0x42
    FIELDS: ClassVar[Fields] = {14: needs("sent", number()), 15: needs("lease_ms", number()), 29: ("recalls", list_of(recalled), list)}
    LISTS: ClassVar[tuple[str, ...]] = ("recalls",)
    sent: int
    lease_ms: int
    recalls: list[tuple[Hold, Notice]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Granted(Message):
    KIND: ClassVar[int] = 0x43
    FIELDS: ClassVar[Fields] = {
        0: SESSION,
        1: TOKEN,
        3: needs("version", stamp),
        6: needs("state", state),
        10: ("recall", optional(notice), None),
        11: ("give_back", flag, False),
    }
    session: bytes
    request: int
    token: Stamp
    version: Stamp
    state: State
    recall: Notice | None = None
    give_back: bool = False


@dataclasses.dataclass
class Queued(Message):
    KIND: ClassVar[int] = 0x44
    FIELDS: ClassVar[Fields] = {0: SESSION, 9: needs("ticket", stamp)}
    session: bytes
    request: int
    ticket: Stamp


@dataclasses.dataclass
class Recall(Message):
    KIND: ClassVar[int] = 0x45
    FIELDS: ClassVar[Fields] = {0: SESSION, 1: TOKEN, 10: needs("notice", notice)}
    session: bytes
    token: Stamp
    notice: Notice


@dataclasses.dataclass
class Committed(Message):
    KIND: ClassVar[int] = 0x46
    FIELDS: ClassVar[Fields] = {0: SESSION, 1: TOKEN, 3: needs("version", stamp), 4: BASE}
    session: bytes
    token: Stamp
    version: Stamp
    base: Stamp


@dataclasses.dataclass
class Released(Message):
    KIND: ClassVar[int] = 0x47
    FIELDS: ClassVar[Fields] = {0: SESSION, 1: TOKEN, 3: ("version", optional(stamp), None), 33: LIMIT_PASSED}
    session: bytes
    token: Stamp
    version: Stamp | None = None
    limit: int | None = None


@dataclasses.dataclass
class Revoked(Message):
    KIND: ClassVar[int] = 0x48
    FIELDS: ClassVar[Fields] = {0: SESSION, 1: TOKEN, 20: needs("why", number(1)), 33: LIMIT_PASSED}
    session: bytes
    token: Stamp
    why: int
    limit: int | None = None


@dataclasses.dataclass
class Refused(Message):
    KIND: ClassVar[int] = 0x49
    FIELDS: ClassVar[Fields] = {0: SESSION, 19: needs("why", refusal)}
    session: bytes
    request: int
    why: Refusal


@dataclasses.dataclass
class NotRenamed(Message):
    KIND: ClassVar[int] = 0x4A
    FIELDS: ClassVar[Fields] = {0: SESSION, 1: TOKEN, 19: needs("why", refusal)}
    session: bytes
    token: Stamp
    why: Refusal


@dataclasses.dataclass
class Gone(Message):
    KIND: ClassVar[int] = 0x4B
    FIELDS: ClassVar[Fields] = {0: SESSION, 1: TOKEN, 21: ("renamed", optional(hold), None)}
    session: bytes
    token: Stamp
    renamed: Hold | None = None


@dataclasses.dataclass
class LeaseEnded(Message):
    KIND: ClassVar[int] = 0x4C
    FIELDS: ClassVar[Fields] = {}


@dataclasses.dataclass
class Superseded(Message):
    KIND: ClassVar[int] = 0x4D
    FIELDS: ClassVar[Fields] = {}


@dataclasses.dataclass
class Full(Message):
    KIND: ClassVar[int] = 0x4E
    FIELDS: ClassVar[Fields] = {}


KINDS: dict[int, type[Message]] = {kind.KIND: kind for kind in Message.__subclasses__()}


def read_body(kind: int, request: int, body: bytes, limits: Limits, items_before: int = 0) -> tuple[Message, int]:
    """The message of a body, and how many list items there are with it. ``items_before``: in the parts before."""
    shape = KINDS[kind]
    r = Reader(body, limits)
    r.items = items_before
    values = read_map(r, shape.FIELDS)
    if r.at != len(body):
        raise r.fail("bytes behind the map")  # r[wire.ill-formed]
    if kind == Release.KIND:
        values["request"] = request if values.pop("requeue") else None
    elif "request" in shape.__dataclass_fields__:
        values["request"] = request
    return shape(**values), r.items


# ---- frames


class Decoder:
    """Makes messages of a stream of bytes. ``from_store``: whose messages these are."""

    def __init__(self, from_store: bool, limits: Limits | None = None) -> None:
        self.from_store = from_store
        self.limits = limits or Limits()
        self.buffer = bytearray()
        self.part: Message | None = None  # of a message that goes on
        self.items = 0

    def feed(self, data: bytes) -> Iterator[Message]:
        """Takes bytes and gives the messages that are whole now. Raises WireError where the stream has to be refused."""
        self.buffer += data
        while (frame := self.next_frame()) is not None:
            message = self.read_frame(*frame)
            if message is not None:
                yield message

    def within_message(self) -> bool:
        """Whether a stream that ends here is cut off."""
        return bool(self.buffer) or self.part is not None

    def next_frame(self) -> tuple[int, int, int, bytes] | None:
        """Kind, flags, request and body of the next frame, if it is whole. The header is judged as soon as it is there."""
        if len(self.buffer) < HEADER.size:
            return None
        length, version, kind, flags, request = HEADER.unpack_from(self.buffer)
        if version >> 4 != VERSION >> 4:  # r[wire.version], r[wire.minor]
            raise WireError(BAD_VERSION, f"version {version >> 4} is not spoken here")
        self.check_kind(kind, flags)
        if length > self.limits.frame_bytes:  # r[wire.too-large]
            raise WireError(TOO_LARGE, f"a body of {length} bytes")
        if len(self.buffer) < HEADER.size + length:
            return None
        body = bytes(self.buffer[HEADER.size : HEADER.size + length])
        del self.buffer[: HEADER.size + length]
        return kind, flags, request, body

    def check_kind(self, kind: int, flags: int) -> None:
        """Refuses what has no place here by its header."""
        if kind not in KINDS:
            if flags & CRITICAL:
                raise WireError(UNKNOWN, f"kind {kind} is not known")  # r[wire.unknown-critical]
            return
        if kind and (kind >= 0x40) != self.from_store:
            raise WireError(UNEXPECTED, f"kind {kind} comes from the wrong side")  # r[wire.wrong-side]
        if flags & MORE and not KINDS[kind].LISTS:
            raise WireError(MALFORMED, f"kind {kind} never goes on")  # r[wire.more-unexpected]
        if kind and self.part is not None and kind != self.part.KIND:
            raise WireError(UNEXPECTED, "another kind where a part is due")  # r[wire.part-missing]

    def read_frame(self, kind: int, flags: int, request: int, body: bytes) -> Message | None:
        """The message that a frame makes whole, if it does."""
        if kind not in KINDS:
            return None  # r[wire.unknown-skipped]
        if kind == Fault.KIND:
            self.part, self.items = None, 0
            return read_body(kind, request, body, self.limits)[0]
        message, self.items = read_body(kind, request, body, self.limits, self.items)
        if self.part is not None:
            message = join_parts(self.part, message)
        if flags & MORE:
            self.part = message
            return None
        self.part, self.items = None, 0
        return message


def join_parts(before: Message, part: Message) -> Message:
    """One message with the lists of both (r[wire.parts-joined]); all else has to be the same (r[wire.parts-differ])."""
    for field in dataclasses.fields(part):
        old, new = getattr(before, field.name), getattr(part, field.name)
        if field.name in part.LISTS:
            old.extend(new)
        elif old != new:
            raise WireError(MALFORMED, "parts that contradict each other")
    return before


# ---- writing


def plain(value: Any) -> Any:
    """A value as cbor2 writes it in its shortest form."""
    match value:
        case State(kind, changes):
            return [kind] if kind == UNCHANGED else [kind, plain(changes)]
        case Refusal(kind, cycle, limit):
            return [kind, list(cycle)] if kind == DEADLOCK else [kind, limit] if kind == LIMIT else [kind]
        case Wish():
            return body_map(value, WISH)
        case StoreLimits():
            return body_map(value, STORE_LIMITS)
        case dict():
            return [[key, entry] for key, entry in value.items()]
        case tuple() | list():
            return [plain(entry) for entry in value]
    return value


def body_map(value: Any, fields: Fields) -> dict[int, Any]:
    """The map of a message or wish: ascending keys; what is absent, empty or false is left out (r[wire.writes-plainly])."""
    entries: dict[int, Any] = {}
    for key in sorted(fields):
        field, _, absent = fields[key]
        entry = value.request is not None if field == "requeue" else getattr(value, field)
        if absent is REQUIRED or (entry is not None and entry is not False and entry != [] and entry != {}):
            entries[key] = plain(entry)
    return entries


def frame(message: Message, more: bool = False) -> bytes:
    """The frame of a message, or of a part of it."""
    body = cbor2.dumps(body_map(message, message.FIELDS))
    request = getattr(message, "request", None) or 0
    flags = CRITICAL | (MORE if more else 0)  # r[wire.writes-critical]
    return HEADER.pack(len(body), VERSION, message.KIND, flags, request) + body


def encode(message: Message) -> bytes:
    """The bytes of a message, in parts when its lists are long."""
    whole = frame(message)
    if not message.LISTS or len(whole) <= PART_BYTES:
        return whole
    entries = [(field, entry) for field in message.LISTS for entry in getattr(message, field)]
    per_part = max(1, len(entries) * PART_BYTES // (2 * len(whole)))
    parts = [entries[at : at + per_part] for at in range(0, len(entries), per_part)]
    frames = []
    for index, part in enumerate(parts):
        lists: dict[str, Any] = {field: [entry for of, entry in part if of == field] for field in message.LISTS}
        frames.append(frame(dataclasses.replace(message, **lists), more=index < len(parts) - 1))
    return b"".join(frames)
