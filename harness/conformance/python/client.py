"""A process of the Tenure protocol, in one file, written from ``docs/src/protocol``.

``Process`` connects to a store and lets threads (any hashable name, for example asyncio tasks) lock attributes of sessions:

    process = Process("127.0.0.1", 7420, b"shop-1", incarnation=time.time_ns() // 1_000_000)
    process.start()
    guard = await process.lock(thread, b"session", [b"cart"], timeout_ms=5000)
    process.write(thread, b"session", b"cart", b"3 apples")
    process.unlock(thread, b"session")
    await process.stop()

All of it runs in one event loop. Each event (a message, a call, a timer) is done whole before the next one, so no state needs a lock.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

import tenure_wire as wire
from tenure_wire import Delta, Hold, Message, Notice, Refusal, Stamp, Wish

NEVER = Stamp(0, 0)
Thread = Hashable
State = dict[bytes, bytes]


class Refused(Exception):
    """A thread does not get what it asked for; nothing else has changed."""

    def __init__(self, why: Refusal) -> None:
        super().__init__(f"refused: {why}")
        self.why = why


class GrantLost(Exception):
    """The grant under which the thread was inside is lost, and what it wrote with it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason  # "lease lost", "revoked", "late" or "superseded"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Timers in milliseconds, and limits; names and defaults of ``timers.md`` and ``limits.md``."""

    margin_ms: int = 500
    keep_alive_ms: int = 3_000
    resend_ms: int = 2_000
    recall_margin_ms: int = 1_000
    reconnect_ms: int = 50  # the first pause before it connects again; doubled by each failure
    reconnect_max_ms: int = 1_000
    attributes_max: int = 1_024
    attribute_bytes_max: int = 1_048_576
    session_bytes_max: int = 4_194_304
    threads_max: int = 16_384
    bases_max: int = 10_000  # of how many released sessions the client state is kept


@dataclasses.dataclass(eq=False)
class Waiting:
    """A lock that a thread has asked for and has not got."""

    thread: Thread
    local: Local
    names: frozenset[bytes] | None  # None: all attributes of the session
    patience: int
    future: asyncio.Future[Guard]
    timer: asyncio.TimerHandle | None = None


@dataclasses.dataclass(eq=False)
class Guard:
    """What a thread has of a session."""

    thread: Thread
    local: Local
    token: Stamp  # r[fence.token-shown]
    names: set[bytes] = dataclasses.field(default_factory=set)
    whole: bool = False
    writes: Delta = dataclasses.field(default_factory=dict)
    poison: str | None = None

    def has(self, name: bytes) -> bool:
        return self.whole or name in self.names

    def excludes(self, waiting: Waiting) -> bool:
        """Whether a lock cannot be given because of this guard (r[thread.one-per-attribute])."""
        if waiting.thread == self.thread:
            return False
        return self.whole or waiting.names is None or not self.names.isdisjoint(waiting.names)


@dataclasses.dataclass(eq=False)
class Unanswered:
    """A message that has to be answered, and who waits for that."""

    message: Message
    sent_at: float = 0.0
    futures: list[asyncio.Future[Any]] = dataclasses.field(default_factory=list)
    state: State | None = None  # of a release: the client state as it is then, if it may become a base
    own: bool = False  # a release of a grant that the process had, and not of one that came unasked

    def answer(self, result: object) -> None:
        for future in self.futures:
            if not future.done():
                future.set_result(result)

    def fail(self, error: Exception) -> None:
        for future in self.futures:
            if not future.done():
                future.set_exception(error)


@dataclasses.dataclass(eq=False)
class Request:
    """What the process has asked the store for."""

    number: int
    patience: int
    known: Stamp | None
    ticket: Stamp | None = None
    cancelled: bool = False
    in_release: Stamp | None = None  # it was said within the unanswered release of this token
    sent_at: float = 0.0


@dataclasses.dataclass(eq=False)
class Grant:
    """A grant that the process has."""

    token: Stamp
    version: Stamp  # that the store has acknowledged,
    acked: State  # and the attributes of it
    state: State  # with all that threads have unlocked or committed since
    give_back: bool
    last_use: float
    recalled: bool = False  # for whatever reason
    gate: Notice | None = None  # a recall for wait or operator: nobody enters
    late: asyncio.TimerHandle | None = None
    deadline_said_ms: int = 0  # how much time the last recall left
    said_blocked: list[bytes] | None = None  # what the last Busy named
    one_use: Waiting | None = None  # whom the closed gate lets in all the same
    commit: Unanswered | None = None
    commit_next: list[asyncio.Future[Any]] = dataclasses.field(default_factory=list)  # futures that wait for the commit after that
    ending: Unanswered | None = None  # a Destroy or Rename

    def changes(self) -> Delta:
        """All that the store has not acknowledged; only what really changed (r[release.whole], r[release.really-changed])."""
        delta: Delta = {name: value for name, value in self.state.items() if self.acked.get(name) != value}
        delta.update((name, None) for name in self.acked if name not in self.state)
        return delta


@dataclasses.dataclass(eq=False)
class Local:
    """What the process knows of one session."""

    id: bytes
    grant: Grant | None = None
    request: Request | None = None
    releasing: dict[Stamp, Unanswered] = dataclasses.field(default_factory=dict)
    base: tuple[Stamp, State] | None = None  # client state without a grant
    greatest: Stamp = NEVER  # of the tokens that it has or had
    early: dict[Stamp, Notice] = dataclasses.field(default_factory=dict)  # recalls that came before their grants
    inside: dict[Thread, Guard] = dataclasses.field(default_factory=dict)
    poisoned: dict[Thread, Guard] = dataclasses.field(default_factory=dict)
    queue: list[Waiting] = dataclasses.field(default_factory=list)

    def in_order(self) -> list[Waiting]:
        """Waiting threads in the order of their turns: by request, with threads inside first (r[gate.order])."""
        return sorted(self.queue, key=lambda waiting: waiting.thread not in self.inside)

    def ahead(self, waiting: Waiting) -> Iterator[Waiting]:
        """Waiting threads that come earlier and want some of the same attributes."""
        for other in self.in_order():
            if other is waiting:
                return
            if other.thread != waiting.thread and overlap(other.names, waiting.names):
                yield other

    def quiet(self) -> bool:
        """Whether the store has nothing to expect of this session."""
        return not (self.grant or self.request or self.releasing or self.queue)


def overlap(one: frozenset[bytes] | None, other: frozenset[bytes] | None) -> bool:
    return one is None or other is None or not one.isdisjoint(other)


def apply(state: State, delta: Delta) -> State:
    """The attributes after a delta."""
    after = dict(state)
    for name, value in delta.items():
        if value is None:
            after.pop(name, None)
        else:
            after[name] = value
    return after


class Process:
    """One incarnation of a process. See the head of this file."""

    def __init__(self, host: str, port: int, name: bytes, incarnation: int, settings: Settings | None = None) -> None:
        self.host, self.port, self.name, self.incarnation = host, port, name, incarnation
        self.settings = settings or Settings()
        self.origin = time.monotonic()  # r[time.monotonic]
        self.sessions: dict[bytes, Local] = {}
        self.waiting: dict[Thread, Waiting] = {}
        self.numbers = 0  # the last request
        self.link = 0
        self.writer: asyncio.StreamWriter | None = None
        self.welcomed = False
        self.hello: wire.Hello | None = None  # that of this connection
        self.lease_end: float | None = None
        self.lease_timer: asyncio.TimerHandle | None = None
        self.keep_alive_at = 0.0
        self.silent_at: float | None = None  # when a connection without an answer is left
        self.lease_ms = 0
        self.stopping = self.over = self.superseded = False
        self.task: asyncio.Task[None] | None = None
        self.ticker: asyncio.Task[None] | None = None
        self.quiet = asyncio.Event()  # set when nothing is held or unanswered any more
        self.ready = asyncio.Event()  # set with the first welcome

    # ---- clocks and helpers

    def now(self) -> float:
        """Milliseconds on the process's own clock."""
        return (time.monotonic() - self.origin) * 1000

    @staticmethod
    def after(milliseconds: float, call: Callable[..., None], *args: object) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(max(0.0, milliseconds) / 1000, call, *args)

    def local(self, session: bytes) -> Local:
        return self.sessions.setdefault(session, Local(session))

    def next_request(self) -> int:
        self.numbers += 1  # r[end.requests-rise]
        return self.numbers

    def send(self, message: Message) -> bool:
        """Sends, when the store has said welcome (r[connect.hello-alone]); else the next welcome brings it out."""
        if not self.welcomed or self.writer is None or self.writer.is_closing():
            return False
        self.writer.write(wire.encode(message))
        return True

    def say(self, unanswered: Unanswered) -> None:
        unanswered.sent_at = self.now()
        self.send(unanswered.message)

    # ---- the life of a process

    def start(self) -> None:
        """Begins to connect; locks may be asked for at once."""
        self.task = asyncio.create_task(self.run())
        self.ticker = asyncio.create_task(self.tick())

    async def stop(self, timeout_ms: int = 5_000) -> None:
        """Refuses new locks, gives everything back when the threads have left, and says goodbye (r[lease.says-goodbye])."""
        self.stopping = True
        for waiting in list(self.waiting.values()):
            self.refuse(waiting, Refusal(wire.STOPPING))
        self.settle_all()
        if not await self.is_quiet(timeout_ms):
            for local in list(self.sessions.values()):
                if local.grant is not None:
                    self.give_up(local, local.grant)  # threads that are still inside are late
        if await self.is_quiet(self.settings.resend_ms):
            self.send(wire.Goodbye())  # nothing is held or unanswered: r[lease.goodbye-last]
        await self.close()

    async def is_quiet(self, timeout_ms: float) -> bool:
        """Waits until nothing is held or unanswered any more; poisoned threads do not count."""
        try:
            await asyncio.wait_for(self.quiet.wait(), timeout_ms / 1000)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Ends without a word more."""
        self.over = True
        self.welcomed = False
        cancel(self.lease_timer)
        self.disconnect()
        self.lose_all("lease lost")
        for task in (self.task, self.ticker):
            if task is not None and task is not asyncio.current_task():
                task.cancel()

    async def run(self) -> None:
        """Connects again and again (r[connect.again]), and longer apart when it fails (r[connect.backs-off])."""
        pause = self.settings.reconnect_ms
        while not self.over:
            before = self.lease_end
            try:
                await self.connect()
            except OSError:
                pass
            except Exception:  # a bug of this program: it goes on with another connection, as after any other break
                logging.getLogger("tenure").exception("a bug of this program ended a connection")
            self.disconnect()
            pause = self.settings.reconnect_ms if self.lease_end != before else min(2 * pause, self.settings.reconnect_max_ms)
            if not self.over:
                await asyncio.sleep(pause / 1000)

    async def connect(self) -> None:
        """One connection: hello, then whatever comes, until it ends."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        if self.over:
            writer.close()
            return
        self.writer, self.welcomed = writer, False
        self.link += 1  # r[connect.link-rises]
        self.hello = self.make_hello()
        writer.write(wire.encode(self.hello))  # r[connect.hello-first]
        decoder = wire.Decoder(from_store=True, limits=self.reader_limits())
        while data := await reader.read(65_536):
            try:
                for message in decoder.feed(data):
                    if self.writer is not writer:
                        return  # r[connect.only-newest]
                    self.take(message)
            except wire.WireError as error:
                self.fault(error)
                return

    def reader_limits(self) -> wire.Limits:
        """What it reads at most, which follows from the limits of sessions (limits.md, of frames)."""
        names = 2 * self.settings.attributes_max
        return wire.Limits(self.settings.session_bytes_max + names * 144 + 4096, names)

    def fault(self, error: wire.WireError) -> None:
        """Refuses what came: the last words on this connection (r[wire.fault], r[wire.fault-last])."""
        if self.writer is not None:
            self.writer.write(wire.encode(wire.Fault(error.code, error.text[:256])))
        self.disconnect()

    def disconnect(self) -> None:
        """Closes the connection; ``run`` opens another."""
        if self.writer is not None:
            self.writer.close()
            if self.writer.transport.get_write_buffer_size():
                self.after(1_000, self.writer.transport.abort)
        self.writer, self.welcomed = None, False

    def make_hello(self) -> wire.Hello:
        """Says what the process has, releases and wants (r[reconnect.names-holds], r[reconnect.names-waits])."""
        holds: list[Hold] = []
        waits: list[Wish] = []
        for local in self.sessions.values():
            if local.grant is not None:
                holds.append(Hold(local.id, local.grant.token))
            # What came unasked and went back unused is no grant of the process: unclaimed, it ends by itself (r[reconnect.unclaimed]).
            local.releasing = {token: one for token, one in local.releasing.items() if one.own}
            holds.extend(Hold(local.id, token) for token in local.releasing)
            if (request := local.request) is not None and not request.cancelled:
                waits.append(Wish(local.id, request.number, request.patience, request.known, request.ticket))
        return wire.Hello(int(self.now()), self.name, self.incarnation, self.link, 0, holds, waits)

    # ---- what comes from the store

    def take(self, message: Message) -> None:
        """Does what a message says."""
        self.check_lease()
        if not self.welcomed and not isinstance(message, (wire.Welcome, wire.LeaseEnded, wire.Superseded, wire.Full, wire.Fault)):
            return  # r[connect.only-newest]
        match message:
            case wire.Welcome():
                self.take_welcome(message)
            case wire.Alive():
                self.silent_at = None
                self.renewed(message.sent, message.lease_ms)
                for hold, notice in message.recalls:
                    self.take_recall(self.local(hold.session), hold.token, notice)
            case wire.LeaseEnded() | wire.Full():
                self.lease_lost()
            case wire.Superseded():
                self.take_superseded()
            case wire.Fault():
                self.disconnect()
            case _:
                self.take_of_session(self.local(message.session), message)  # type: ignore[attr-defined]

    def take_of_session(self, local: Local, message: Message) -> None:
        match message:
            case wire.Granted():
                self.take_granted(local, message)
            case wire.Queued():
                if local.request is not None and local.request.number == message.request:  # r[end.stray]
                    local.request.ticket = message.ticket  # r[queue.keeps-ticket]
            case wire.Recall():
                self.take_recall(local, message.token, message.notice)
            case wire.Committed():
                self.take_committed(local, message)
            case wire.Released():
                self.take_released(local, message.token, message.version)
            case wire.Revoked():
                self.take_revoked(local, message)
            case wire.Refused():
                self.take_refused(local, message)
            case wire.NotRenamed():
                self.take_not_renamed(local, message)
            case wire.Gone():
                self.take_gone(local, message.token, message.renamed)
        self.settle(local)

    # ---- lease

    def renewed(self, sent: int, lease_ms: int) -> None:
        """A lease counts from when it was asked for (r[lease.from-sent]), less a margin (r[lease.margin]), and never goes back."""
        self.lease_ms = lease_ms
        end = min(sent, self.now()) + lease_ms - self.settings.margin_ms
        if self.lease_end is None or end > self.lease_end:
            self.lease_end = end
            cancel(self.lease_timer)
            self.lease_timer = self.after(end - self.now(), self.check_lease)

    def check_lease(self) -> None:
        """Looks at the clock; done at every step, since a process may have stood still (timers.md)."""
        if self.lease_end is None:
            return
        if self.now() >= self.lease_end:
            self.lease_lost()
        elif self.lease_timer is None or self.lease_timer.cancelled() or self.lease_timer.when() <= asyncio.get_running_loop().time():
            self.lease_timer = self.after(self.lease_end - self.now() + 1, self.check_lease)

    def lease_lost(self) -> None:
        """All grants are lost (r[lease.lost]); the connection is closed, and another one opened."""
        self.lease_end = None
        cancel(self.lease_timer)
        self.disconnect()
        self.lose_all("lease lost")

    def lose_all(self, reason: str) -> None:
        for local in list(self.sessions.values()):
            if local.grant is not None:
                self.lose(local, reason)
            for token in list(local.releasing):
                self.take_released(local, token, None)
            if local.request is not None and local.request.cancelled:
                local.request = None  # no hello will name it
            self.settle(local)

    def take_superseded(self) -> None:
        """A higher incarnation is there: this one ends (r[connect.superseded-stops])."""
        self.over = self.stopping = self.superseded = True
        self.lease_end = None
        cancel(self.lease_timer)
        self.disconnect()
        for local in self.sessions.values():
            if local.grant is not None:
                self.lose(local, "superseded")
            for token in list(local.releasing):
                self.take_released(local, token, None)
            local.request = None
        for waiting in list(self.waiting.values()):
            self.refuse(waiting, Refusal(wire.STOPPING))
        self.quiet.set()
        self.ready.set()

    def lose(self, local: Local, reason: str) -> None:
        """Takes the grant for lost: tells the threads inside, drops the client state (r[fence.revoked], r[thread.told])."""
        grant, local.grant, local.base = local.grant, None, None
        if grant is None:
            return
        self.poison(local, reason)
        cancel(grant.late)
        lost = GrantLost(reason)
        for unanswered in (grant.commit, grant.ending, Unanswered(wire.Goodbye(), futures=grant.commit_next)):
            if unanswered is not None:
                unanswered.fail(lost)

    def poison(self, local: Local, reason: str) -> None:
        """Tells all threads inside that they have lost the grant, and discards what they wrote."""
        for thread, guard in local.inside.items():
            guard.poison = reason
            guard.writes.clear()
            local.poisoned[thread] = guard
        inside, local.inside = local.inside, {}
        for waiting in [waiting for waiting in local.queue if waiting.thread in inside]:
            self.end_waiting(waiting, GrantLost(reason))  # r[thread.ends-once]

    # ---- welcome

    def take_welcome(self, welcome: wire.Welcome) -> None:
        if self.welcomed or self.hello is None:
            return
        hello = self.hello
        self.welcomed = True
        self.silent_at = None
        self.ready.set()
        self.keep_alive_at = self.now()
        self.renewed(welcome.sent, welcome.lease_ms)
        known, ended = set(welcome.holds), dict(welcome.ended)
        for hold in hello.holds:
            if hold not in known:
                self.not_known(self.local(hold.session), hold, hold in ended, ended.get(hold))
        self.check_lease()
        if self.welcomed:
            self.repeat(hello)
            self.settle_all()

    def not_known(self, local: Local, hold: Hold, ended: bool, renamed: Hold | None) -> None:
        """A grant that is lost (r[reconnect.lost]), or has ended as the process asked (r[reconnect.ended-by-me])."""
        grant = local.grant
        if grant is not None and grant.token == hold.token:
            if ended and self.asked_for(grant, renamed):
                self.take_gone(local, hold.token, renamed)
            else:
                self.lose(local, "revoked")
        elif hold.token in local.releasing:
            self.take_released(local, hold.token, None)

    @staticmethod
    def asked_for(grant: Grant, renamed: Hold | None) -> bool:
        """Whether the process has asked for just this end of the grant."""
        asked = grant.ending.message if grant.ending is not None else None
        if isinstance(asked, wire.Rename):
            return renamed is not None and renamed.session == asked.to
        return isinstance(asked, wire.Destroy) and renamed is None

    def repeat(self, hello: wire.Hello) -> None:
        """Says again all that is unanswered (r[reconnect.repeats])."""
        said = {(wish.session, wish.request) for wish in hello.waits}
        for local in list(self.sessions.values()):
            for unanswered in self.unanswered(local):
                self.say(unanswered)
            request = local.request
            if request is None:
                continue
            request.sent_at = self.now()
            if request.cancelled:
                self.send(wire.Cancel(local.id, request.number))
            elif (local.id, request.number) not in said and request.in_release not in local.releasing:
                self.send_acquire(local, request)

    @staticmethod
    def unanswered(local: Local) -> Iterator[Unanswered]:
        if local.grant is not None:
            yield from (one for one in (local.grant.commit, local.grant.ending) if one is not None)
        yield from local.releasing.values()

    async def tick(self) -> None:
        """Keep-alives, and what is said again when no answer comes on the same connection (r[end.resends])."""
        step = min(self.settings.resend_ms, self.settings.keep_alive_ms, 400) / 4
        hello_at = 0.0
        link = 0
        while not self.over:
            await asyncio.sleep(step / 1000)
            self.check_lease()
            if self.link != link:
                link, hello_at = self.link, self.now()
                self.silent_at = None
                self.expect_answer()
            if self.writer is not None and self.silent_at is not None and self.now() >= self.silent_at:
                self.disconnect()  # while there is a lease to save (r[lease.silent])
                self.silent_at = None
                continue
            if self.writer is not None and not self.welcomed and self.now() - hello_at > self.settings.resend_ms:
                self.disconnect()  # a hello without an answer: a new connection (timers.md)
            if self.welcomed:
                self.keep_alive()
                self.resend()

    def keep_alive(self) -> None:
        """At least three times in a lease (r[lease.keeps-alive])."""
        step = min(self.settings.keep_alive_ms, self.lease_ms / 4)
        if self.now() - self.keep_alive_at >= step * 0.9:
            self.keep_alive_at = self.now()
            self.send(wire.KeepAlive(int(self.keep_alive_at)))
            self.expect_answer()

    def expect_answer(self) -> None:
        """A hello or keep-alive was sent: another connection is tried when half of what the lease has left has passed (r[lease.silent])."""
        if self.silent_at is None and self.lease_end is not None:
            self.silent_at = (self.now() + self.lease_end) / 2

    def resend(self) -> None:
        late = self.now() - self.settings.resend_ms
        for local in self.sessions.values():
            for unanswered in self.unanswered(local):
                if unanswered.sent_at < late:
                    self.say(unanswered)
            request = local.request
            if request is not None and request.sent_at < late and request.in_release not in local.releasing:
                request.sent_at = self.now()
                if request.cancelled:
                    self.send(wire.Cancel(local.id, request.number))
                else:
                    self.send_acquire(local, request)

    # ---- requests

    def ask(self, local: Local) -> None:
        """Asks the store for a session that threads wait for (r[thread.asks]), or stops asking (r[end.cancels])."""
        request = local.request
        if local.grant is not None or self.over:
            return
        patient = any(waiting.patience == wire.WAIT for waiting in local.queue)
        if request is None:
            if local.queue and not any(one.own for one in local.releasing.values()):  # r[end.one-at-a-time]
                known = local.base[0] if local.base is not None else None  # r[grant.known]
                patience = wire.WAIT if patient else wire.TRY
                local.request = Request(self.next_request(), patience, known)
                self.send_acquire(local, local.request)
        elif not local.queue:
            if not request.cancelled and request.in_release not in local.releasing:
                request.cancelled, request.sent_at = True, self.now()
                self.send(wire.Cancel(local.id, request.number))
        elif patient and request.patience == wire.TRY and not request.cancelled:
            request.patience = wire.WAIT
            self.send_acquire(local, request)

    def send_acquire(self, local: Local, request: Request) -> None:
        request.sent_at = self.now()
        request.in_release = None
        self.send(wire.Acquire(local.id, request.number, request.patience, request.known, request.ticket))

    def take_refused(self, local: Local, message: wire.Refused) -> None:
        """A request ends without a grant: each kind tells other threads; who still waits asks again (errors.md)."""
        if local.request is None or local.request.number != message.request:
            return  # r[end.stray]
        request, local.request = local.request, None
        why = message.why
        if why.kind == wire.WOULD_BLOCK:
            told = [waiting for waiting in local.queue if waiting.patience == wire.TRY]
        elif why.kind in (wire.CANCELLED, wire.DEADLINE):
            told = []
        elif why.kind == wire.DEADLOCK:
            told = self.victims(local, why)
        else:
            told = [] if request.cancelled else list(local.queue)  # r[limit.told]
            if why.kind == wire.GONE:
                local.base = None
        for waiting in told:
            self.refuse(waiting, why)

    def victims(self, local: Local, why: Refusal) -> list[Waiting]:
        """The threads of a cycle that wait here (r[deadlock.victims])."""
        held = self.sessions.get(why.cycle[0]) if why.cycle else None
        blocked = set() if held is None else self.blocked_threads(held)
        return [waiting for waiting in local.queue if waiting.thread in blocked] or list(local.queue)

    # ---- grants

    def take_granted(self, local: Local, message: wire.Granted) -> None:
        request = local.request
        notice = local.early.pop(message.token, None)  # r[recall.early]
        if local.grant is not None and message.token <= local.grant.token or message.token in local.releasing:
            return
        if request is None or request.number != message.request or message.token <= local.greatest:  # r[grant.unasked]
            self.give_back_unused(local, message.token, message.version)
            return
        state = self.granted_state(local, request, message)
        local.request = None
        local.greatest = message.token
        local.early.clear()
        if state is None:  # r[grant.needs-base]: gives it back; `ask` comes again without a known version
            local.base = None
            self.give_back_unused(local, message.token, message.version)
            return
        local.base = None
        local.grant = Grant(message.token, message.version, state, dict(state), message.give_back, self.now())
        recalls = [one for one in (notice, message.recall) if one is not None]
        self.recalled_at_once(local, local.grant, recalls)

    def recalled_at_once(self, local: Local, grant: Grant, recalls: list[Notice]) -> None:
        """Obeys recalls that came with or before the grant, after the one use that it is good for (r[gate.one-use])."""
        if not recalls:
            return
        recall = max(recalls)
        if recall.reason >= wire.WAIT_RECALL:
            order = local.in_order()
            grant.one_use = order[0] if order else None
        else:
            self.advance(local)
        self.recalled(local, grant, recall)

    @staticmethod
    def granted_state(local: Local, request: Request, message: wire.Granted) -> State | None:
        """The client state that a grant gives, or None without the base that it needs."""
        kind, delta = message.state
        if kind == wire.ALL:
            return apply({}, delta)
        if local.base is None or request.known is None or local.base[0] != request.known:
            return None
        return apply(local.base[1], delta)

    def give_back_unused(self, local: Local, token: Stamp, version: Stamp) -> None:
        """Releases an unwanted grant without changes (r[grant.returns-unasked], r[recall.unknown])."""
        local.greatest = max(local.greatest, token)
        local.releasing[token] = Unanswered(wire.Release(local.id, token, version, 0))
        self.say(local.releasing[token])

    # ---- recalls

    def take_recall(self, local: Local, token: Stamp, notice: Notice) -> None:
        grant = local.grant
        if token in local.releasing:
            self.say(local.releasing[token])  # r[recall.crossed]
        elif grant is not None and token == grant.token:
            self.recalled(local, grant, notice)
        elif grant is not None and token < grant.token:
            pass  # r[recall.old]
        elif grant is None and local.request is not None and token > local.greatest:
            local.early[token] = max(notice, local.early.get(token, notice))
        else:
            self.give_back_unused(local, token, NEVER)
        self.settle(local)

    def recalled(self, local: Local, grant: Grant, notice: Notice) -> None:
        """A recall of the grant that the process has."""
        grant.recalled = True
        if notice.reason >= wire.WAIT_RECALL:
            if grant.gate is None:
                grant.gate = notice  # r[gate.closed]
                grant.late = self.after(notice.deadline_ms - self.settings.recall_margin_ms, self.give_up, local, grant)
                self.refuse_cycles()
            elif notice.deadline_ms >= grant.deadline_said_ms and grant.late is not None:  # r[recall.later]
                cancel(grant.late)
                grant.late = self.after(notice.deadline_ms - self.settings.recall_margin_ms, self.give_up, local, grant)
            grant.deadline_said_ms = notice.deadline_ms
            grant.said_blocked = None  # each recall is answered (r[recall.obeyed])
        elif grant.gate is not None:
            grant.said_blocked = None
        elif local.inside or grant.ending is not None:
            self.send(wire.Busy(local.id, grant.token, len(local.inside)))  # r[recall.mild-obeyed], r[recall.mild-gate]
        else:
            self.release(local, grant)

    def say_busy(self) -> None:
        """Sends Busy for recalls while threads are inside, and again when the sessions that block them change (r[deadlock.says-again])."""
        for local in list(self.sessions.values()):
            grant = local.grant
            if grant is None or grant.gate is None or not local.inside:
                continue
            blocked = self.blocked_on(local)
            if blocked != grant.said_blocked and self.send(wire.Busy(local.id, grant.token, len(local.inside), blocked)):
                grant.said_blocked = blocked

    def give_up(self, local: Local, grant: Grant) -> None:
        """The deadline of a recall is near: late threads lose the grant, the rest is released (r[recall.gives-up])."""
        if local.grant is not grant or grant.ending is not None:
            return
        self.poison(local, "late")
        grant.last_use = self.now()
        grant.one_use = None
        self.settle(local)

    def release(self, local: Local, grant: Grant) -> None:
        """Gives the grant back, with all changes; asks again in the same message when threads wait (r[gate.requeues])."""
        number = None
        for waiting in [waiting for waiting in local.queue if waiting.patience == wire.TRY]:
            self.refuse(waiting, Refusal(wire.WOULD_BLOCK))
        if local.queue:
            number = self.next_request()
            local.request = Request(number, wire.WAIT, None, in_release=grant.token, sent_at=self.now())
        idle = max(0, int(self.now() - grant.last_use))  # r[expiry.idle-said]
        message = wire.Release(local.id, grant.token, grant.version, idle, grant.changes(), number)
        futures = (grant.commit.futures if grant.commit is not None else []) + grant.commit_next
        local.grant = None  # from now on nobody enters under it: r[release.over]
        cancel(grant.late)
        local.releasing[grant.token] = Unanswered(message, futures=futures, state=grant.state, own=True)
        self.say(local.releasing[grant.token])

    def take_released(self, local: Local, token: Stamp, version: Stamp | None) -> None:
        unanswered = local.releasing.pop(token, None)
        if unanswered is None:
            return  # r[end.stray]
        request = local.request
        own = unanswered.own
        if version is None:
            if own:
                local.base = None  # r[release.drops-lost]
            unanswered.fail(GrantLost("revoked"))
        else:
            unanswered.answer(version)
            if unanswered.state is not None:
                local.base = version, unanswered.state  # r[grant.keeps-base]
        if request is not None and request.in_release == token:
            request.in_release = None
            request.sent_at = self.now()
            request.known = local.base[0] if local.base is not None else None
            if not self.welcomed or version is None:
                request.known = None

    def take_revoked(self, local: Local, message: wire.Revoked) -> None:
        if local.grant is not None and local.grant.token == message.token:
            self.lose(local, "revoked")
        elif (unanswered := local.releasing.get(message.token)) is not None:
            unanswered.state = None  # lost; the answer to the release is still to come
            unanswered.fail(GrantLost("revoked"))

    # ---- commits

    def start_commit(self, local: Local, grant: Grant) -> None:
        """Makes durable what has changed; one commit at a time (r[commit.one-at-a-time])."""
        if grant.commit is not None or grant.ending is not None:
            return
        changes = grant.changes()
        futures, grant.commit_next = grant.commit_next, []
        if not changes:
            Unanswered(wire.Goodbye(), futures=futures).answer(grant.version)
            return
        grant.commit = Unanswered(wire.Commit(local.id, grant.token, grant.version, changes), futures=futures)
        self.say(grant.commit)

    def take_committed(self, local: Local, message: wire.Committed) -> None:
        grant = local.grant
        if grant is None or grant.token != message.token or grant.commit is None:
            return  # r[end.stray]; one that a release overtook is in that release
        commit = grant.commit.message
        if not isinstance(commit, wire.Commit) or commit.base != message.base:
            return
        done, grant.commit = grant.commit, None
        grant.acked, grant.version = apply(grant.acked, commit.delta), message.version
        done.answer(message.version)  # r[commit.told]
        if grant.commit_next:
            self.start_commit(local, grant)

    # ---- destroy and rename

    def end(self, thread: Thread, session: bytes, to: bytes | None) -> asyncio.Future[Any]:
        """Destroys the session, or gives it another id. The thread has to have locked all of it (r[destroy.all-locked])."""
        guard = self.guard(thread, session)
        local, grant = guard.local, guard.local.grant
        if not guard.whole or grant is None or grant.ending is not None or local.inside.keys() != {thread}:
            raise Refused(Refusal(wire.NOT_HELD))
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        message = wire.Destroy(local.id, grant.token) if to is None else wire.Rename(local.id, grant.token, to)
        grant.ending = Unanswered(message, futures=[future])  # nobody enters from now on: r[destroy.nobody-enters]
        if grant.commit is None:
            self.say(grant.ending)
        else:  # after the commit that is under way
            ending = grant.ending
            grant.commit.futures.append(wait := asyncio.get_running_loop().create_future())
            wait.add_done_callback(lambda done: None if done.exception() else self.say(ending))
        return future

    def destroy(self, thread: Thread, session: bytes) -> asyncio.Future[Any]:
        return self.end(thread, session, None)

    def rename(self, thread: Thread, session: bytes, to: bytes) -> asyncio.Future[Any]:
        return self.end(thread, session, to)

    def take_not_renamed(self, local: Local, message: wire.NotRenamed) -> None:
        grant = local.grant
        if grant is None or grant.token != message.token or grant.ending is None or not isinstance(grant.ending.message, wire.Rename):
            return
        ending, grant.ending = grant.ending, None
        ending.fail(Refused(message.why))

    def take_gone(self, local: Local, token: Stamp, renamed: Hold | None) -> None:
        grant = local.grant
        if grant is None or grant.token != token or not self.asked_for(grant, renamed) or grant.ending is None:
            return  # r[end.stray]
        ending, grant.ending = grant.ending, None
        for waiting in list(local.queue):
            self.refuse(waiting, Refusal(wire.GONE))
        cancel(grant.late)
        if renamed is None:
            local.grant, local.base = None, None  # r[release.drops-lost]
            local.inside.clear()
            if grant.commit is not None:
                grant.commit.fail(Refused(Refusal(wire.GONE)))
        else:
            self.move(local, grant, renamed)
        ending.answer(renamed)

    def move(self, local: Local, grant: Grant, renamed: Hold) -> None:
        """The session has another id and the grant another token from now on (r[rename.new-hold])."""
        there = self.local(renamed.session)
        local.grant, there.base = None, None
        there.grant, there.inside, local.inside = grant, local.inside, {}
        there.greatest = grant.token = renamed.token
        grant.gate, grant.late, grant.said_blocked, grant.one_use = None, None, None, None  # r[recall.ends-with-grant]
        for guard in there.inside.values():
            guard.local, guard.token = there, renamed.token
        self.settle(local)
        self.settle(there)

    # ---- threads

    def lock(
        self, thread: Thread, session: bytes, names: Iterable[bytes] | None, attempt: bool = False, timeout_ms: int | None = None
    ) -> asyncio.Future[Guard]:
        """Locks attributes, all of them or none (r[thread.together]); ``names`` None: the whole session. ``attempt``: only a try."""
        self.check_lease()
        local = self.local(session)
        wanted = None if names is None else frozenset(names)
        future: asyncio.Future[Guard] = asyncio.get_running_loop().create_future()
        waiting = Waiting(thread, local, wanted, wire.TRY if attempt else wire.WAIT, future)
        if (why := self.refuses(waiting)) is not None:
            future.set_exception(why)
            return future
        local.queue.append(waiting)
        self.waiting[thread] = waiting
        if not attempt and local.grant is None:  # the request becomes patient: a try does not wait that long
            for other in [other for other in local.queue if other.patience == wire.TRY]:
                self.refuse(other, Refusal(wire.WOULD_BLOCK))  # r[try.thread]
        if attempt and self.would_block(waiting):
            self.refuse(waiting, Refusal(wire.WOULD_BLOCK))  # r[try.thread]
            return future
        if timeout_ms is not None:
            waiting.timer = self.after(timeout_ms, self.waited_long, waiting)  # r[thread.deadline]
        self.settle(local)
        self.refuse_cycles(thread)
        return future

    def refuses(self, waiting: Waiting) -> Exception | None:
        """Why a lock is refused at once, if it is."""
        guard = waiting.local.inside.get(waiting.thread)
        poisoned = waiting.local.poisoned.get(waiting.thread)
        if poisoned is not None:
            return GrantLost(poisoned.poison or "revoked")
        if self.stopping:
            return Refused(Refusal(wire.STOPPING))
        if waiting.thread in self.waiting:
            return Refused(Refusal(wire.ALREADY_LOCKED))
        if guard is not None and (guard.whole or waiting.names is None or not guard.names.isdisjoint(waiting.names)):
            return Refused(Refusal(wire.ALREADY_LOCKED))
        if len(waiting.local.queue) >= self.settings.threads_max:
            return Refused(Refusal(wire.LIMIT, limit=6))  # r[limit.threads]
        return None

    def would_block(self, waiting: Waiting) -> bool:
        """Whether a try would wait for another thread of this process, or behind one."""
        local = waiting.local
        if local.grant is None:
            return len(local.queue) > 1
        return not self.may_enter(waiting)

    def waited_long(self, waiting: Waiting) -> None:
        self.refuse(waiting, Refusal(wire.DEADLINE))
        self.settle(waiting.local)

    def cancel_wait(self, thread: Thread) -> None:
        """The thread does not want to wait any more."""
        if (waiting := self.waiting.get(thread)) is not None:
            self.refuse(waiting, Refusal(wire.CANCELLED))
            self.settle(waiting.local)

    def refuse(self, waiting: Waiting, why: Refusal) -> None:
        self.end_waiting(waiting, Refused(why))

    def end_waiting(self, waiting: Waiting, error: Exception | None) -> None:
        cancel(waiting.timer)
        waiting.local.queue.remove(waiting)
        del self.waiting[waiting.thread]
        grant = waiting.local.grant
        if grant is not None and grant.one_use is waiting:
            grant.one_use = None
        if error is not None and not waiting.future.done():
            waiting.future.set_exception(error)

    def may_enter(self, waiting: Waiting) -> bool:
        """Whether a thread may have now what it waits for."""
        local, grant = waiting.local, waiting.local.grant
        if grant is None or grant.ending is not None or waiting.future.done():  # r[thread.needs-grant], r[destroy.nobody-enters]
            return False
        if waiting.thread not in local.inside and (grant.gate is not None or grant.one_use is not None) and grant.one_use is not waiting:
            return False  # r[gate.closed]; those inside may go on: r[gate.insiders]
        if any(guard.excludes(waiting) for guard in local.inside.values()):
            return False
        return next(local.ahead(waiting), None) is None

    def advance(self, local: Local) -> None:
        """Lets in every thread that may enter."""
        entered = True
        while entered:
            entered = False
            for waiting in local.in_order():
                if self.may_enter(waiting):
                    self.enter(waiting)
                    entered = True
                    break

    def enter(self, waiting: Waiting) -> None:
        local, grant = waiting.local, waiting.local.grant
        assert grant is not None
        guard = local.inside.setdefault(waiting.thread, Guard(waiting.thread, local, grant.token))
        if waiting.names is None:
            guard.whole = True
        else:
            guard.names |= waiting.names
        self.end_waiting(waiting, None)
        waiting.future.set_result(guard)

    def guard(self, thread: Thread, session: bytes) -> Guard:
        """What the thread has of the session; raises when it has nothing, or has lost it."""
        self.check_lease()
        local = self.local(session)
        if (poisoned := local.poisoned.get(thread)) is not None:
            raise GrantLost(poisoned.poison or "revoked")  # r[thread.told]
        if (guard := local.inside.get(thread)) is None:
            raise Refused(Refusal(wire.NOT_HELD))  # r[thread.stranger]
        return guard

    def read(self, thread: Thread, session: bytes, name: bytes) -> bytes | None:
        """The value of an attribute that the thread has locked (r[thread.sees-state])."""
        guard = self.guard(thread, session)
        if not guard.has(name) or guard.local.grant is None:
            raise Refused(Refusal(wire.NOT_HELD))
        return guard.writes[name] if name in guard.writes else guard.local.grant.state.get(name)

    def names(self, thread: Thread, session: bytes) -> set[bytes]:
        """The attributes that have a value, for a thread that has locked the whole session."""
        guard = self.guard(thread, session)
        assert guard.local.grant is not None
        return set(apply(guard.local.grant.state, guard.writes))

    def write(self, thread: Thread, session: bytes, name: bytes, value: bytes | None) -> None:
        """Writes or removes an attribute; others see it when it is unlocked."""
        guard = self.guard(thread, session)
        if not guard.has(name):
            raise Refused(Refusal(wire.NOT_HELD))
        self.check_limits(guard, name, value)
        guard.writes[name] = value

    def check_limits(self, guard: Guard, name: bytes, value: bytes | None) -> None:
        """Refuses a write that takes the session over a limit, whichever of the threads unlock (r[limit.checks])."""
        assert guard.local.grant is not None
        limits, state = self.settings, guard.local.grant.state
        for other in guard.local.inside.values():
            state = apply(state, {key: entry for key, entry in other.writes.items() if entry is not None})
        if value is None:
            return
        if len(value) > limits.attribute_bytes_max:
            raise Refused(Refusal(wire.LIMIT, limit=4))
        state = {**state, name: value}
        if len(state) > limits.attributes_max:
            raise Refused(Refusal(wire.LIMIT, limit=3))
        if sum(len(key) + len(entry) for key, entry in state.items()) > limits.session_bytes_max:
            raise Refused(Refusal(wire.LIMIT, limit=5))

    def unlock(self, thread: Thread, session: bytes, names: Iterable[bytes] | None = None, discard: bool = False) -> None:
        """Unlocks attributes, or all that the thread has; what it wrote to them counts from now on, or is discarded."""
        local = self.local(session)
        if (poisoned := local.poisoned.pop(thread, None)) is not None:
            self.settle(local)
            raise GrantLost(poisoned.poison or "revoked")
        guard = self.guard(thread, session)
        given = set(guard.names) if names is None else set(names)
        if names is not None and (guard.whole or not given <= guard.names):
            raise Refused(Refusal(wire.NOT_HELD))  # r[thread.stranger]
        if names is None and guard.whole:
            given |= set(guard.writes)
            guard.whole = False
        assert local.grant is not None
        writes = {name: guard.writes.pop(name) for name in given if name in guard.writes}
        if not discard:  # r[thread.discards]
            local.grant.state = apply(local.grant.state, writes)
        guard.names -= given
        if not guard.names:
            self.leave(local, thread)
        self.settle(local)

    def leave(self, local: Local, thread: Thread) -> None:
        grant = local.grant
        assert grant is not None
        del local.inside[thread]
        grant.last_use = self.now()
        if grant.gate is not None and local.inside and grant.changes():
            self.start_commit(local, grant)  # r[commit.under-recall]

    def commit(self, thread: Thread, session: bytes) -> asyncio.Future[Any]:
        """Makes durable what the thread has written so far, while it keeps what it has locked."""
        guard = self.guard(thread, session)
        grant = guard.local.grant
        assert grant is not None
        grant.state = apply(grant.state, guard.writes)
        guard.writes.clear()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        grant.commit_next.append(future)
        self.start_commit(guard.local, grant)
        return future

    def give_back(self, session: bytes) -> None:
        """Gives a grant back that no thread uses (r[release.voluntary])."""
        local = self.local(session)
        if local.grant is not None and not local.inside and local.grant.ending is None:
            self.release(local, local.grant)
            self.settle(local)

    # ---- who waits for whom

    def waits_for(self, thread: Thread) -> set[Thread]:
        """The threads of this process that a thread waits for."""
        waiting = self.waiting.get(thread)
        if waiting is None or (grant := waiting.local.grant) is None:
            return set()
        local = waiting.local
        if grant.gate is not None and thread not in local.inside and grant.one_use is not waiting:
            return set(local.inside)
        held = {guard.thread for guard in local.inside.values() if guard.excludes(waiting)}
        return held | {other.thread for other in local.ahead(waiting)}

    def reach(self, start: Iterable[Thread]) -> set[Thread]:
        """These threads, all that they wait for, and so on."""
        seen: set[Thread] = set()
        rest = list(start)
        while rest:
            thread = rest.pop()
            if thread not in seen:
                seen.add(thread)
                rest.extend(self.waits_for(thread))
        return seen

    def refuse_cycles(self, thread: Thread | None = None) -> None:
        """Refuses waits that close a cycle of threads (r[deadlock.local]); of one thread, or of any."""
        for candidate in list(self.waiting) if thread is None else [thread]:
            waiting = self.waiting.get(candidate)
            if waiting is not None and (path := self.path_back(candidate, candidate, set())) is not None:
                sessions = [self.waiting[each].local.id for each in path]
                cycle = tuple(dict.fromkeys(sessions[-1:] + sessions[:-1]))  # what the refused thread holds comes first
                self.refuse(waiting, Refusal(wire.DEADLOCK, cycle=cycle))
                self.settle(waiting.local)

    def path_back(self, start: Thread, end: Thread, seen: set[Thread]) -> list[Thread] | None:
        """Threads from ``start`` on, each of which waits for the next, the last one for ``end``."""
        for thread in self.waits_for(start) - seen:
            if thread == end:
                return [start]
            seen.add(thread)
            if (rest := self.path_back(thread, end, seen)) is not None:
                return [start, *rest]
        return None

    def blocked_threads(self, local: Local) -> set[Thread]:
        return self.reach(local.inside)

    def blocked_on(self, local: Local) -> list[bytes]:
        """The sessions that the store has to grant before the threads inside can leave (r[deadlock.blocked-on])."""
        names = set()
        for thread in self.blocked_threads(local):
            if (waiting := self.waiting.get(thread)) is not None:
                there, grant = waiting.local, waiting.local.grant
                if grant is None or grant.gate is not None and thread not in there.inside and there is not local:
                    names.add(there.id)
        return sorted(names)

    # ---- after each event

    def settle(self, local: Local) -> None:
        """Lets in who may, asks for what is missing, gives back what is due, and says what blocks."""
        self.advance(local)
        grant = local.grant
        if grant is not None and not local.inside and grant.ending is None and grant.one_use is None:
            unused = grant.give_back and not local.queue or self.stopping  # r[grant.gives-back-hinted]
            if grant.gate is not None or unused:
                self.release(local, grant)  # r[recall.obeyed]
        self.ask(local)
        self.say_busy()
        if local.quiet() and not local.poisoned and (local.base is None or len(self.sessions) > self.settings.bases_max):
            self.sessions.pop(local.id, None)
        if self.stopping and all(one.quiet() for one in self.sessions.values()):
            self.quiet.set()

    def settle_all(self) -> None:
        for local in list(self.sessions.values()):
            self.settle(local)
        if self.stopping and all(one.quiet() for one in self.sessions.values()):
            self.quiet.set()


def cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
