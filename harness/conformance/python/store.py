"""A minimal store of the Tenure protocol, in memory, written from ``docs/src/protocol``.

It obeys every rule that binds a store, but for those about what is durable: what it knows ends with it. Everything happens in one
thread, in the order in which messages come, so no state needs a lock.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import time
from collections.abc import Callable

import tenure_wire as wire
from tenure_wire import Hold, Message, Notice, Refusal, Stamp, State, WireError

NEVER = Stamp(0, 0)  # the version of a session that does not exist
HISTORY = 64  # of how many versions of a session the differences are known
GIVE_BACK_AFTER = 3  # how many grants in a row to others make a grant say "give back when idle"
LINGER_S = 1.0  # how long a closed connection is read on, so that its last words are not lost


@dataclasses.dataclass(frozen=True)
class Settings:
    """Timers in milliseconds, and limits; names and defaults of ``timers.md`` and ``limits.md``."""

    lease_ms: int = 10_000
    recall_ms: int = 30_000
    remind_ms: int = 1_000
    wait_ms: int = 60_000
    time_to_live_ms: int = 0  # 0: for ever
    hello_ms: int = 5_000
    processes_max: int = 16_384
    grants_max: int = 1_048_576
    waiters_max: int = 1_024
    attributes_max: int = 1_024
    attribute_bytes_max: int = 1_048_576
    session_bytes_max: int = 4_194_304
    connections_max: int = 16_384
    outgoing_bytes_max: int = 67_108_864
    frame_bytes_max: int = wire.Limits.frame_bytes
    changes_max: int = wire.Limits.changes
    items_max: int = wire.Limits.items


@dataclasses.dataclass(eq=False)
class Wait:
    """A request that stands in a queue."""

    process: Process
    request: int
    patience: int
    known: Stamp | None
    ticket: Stamp
    existing: bool = False  # it wants the session only if that exists
    timer: asyncio.TimerHandle | None = None


@dataclasses.dataclass(eq=False)
class Recalled:
    """That a grant is asked back."""

    reason: int
    deadline: float | None = None  # only when the reason is wait or operator
    revoke: asyncio.TimerHandle | None = None
    remind: asyncio.TimerHandle | None = None


@dataclasses.dataclass(eq=False)
class Grant:
    """A current grant."""

    process: Process
    session: Session
    token: Stamp
    request: int
    known: Stamp | None
    give_back: bool = False
    recall: Recalled | None = None
    busy: bool = False  # the holder has answered the recall with Busy
    blocked_on: list[bytes] = dataclasses.field(default_factory=list)
    renamed_from: Hold | None = None
    is_spoilt: bool = False  # the holder was told that it is lost, and has not shown that it has heard that

    @property
    def hold(self) -> Hold:
        return Hold(self.session.id, self.token)


@dataclasses.dataclass(eq=False)
class Session:
    """A session: its primary state, who holds it, and who waits for it. It exists when it was written to."""

    id: bytes
    version: Stamp = NEVER
    attributes: dict[bytes, bytes] = dataclasses.field(default_factory=dict)
    history: list[tuple[Stamp, frozenset[bytes]]] = dataclasses.field(default_factory=list)
    grant: Grant | None = None
    queue: list[Wait] = dataclasses.field(default_factory=list)  # by ticket
    last_holder: bytes = b""
    moves: int = 0  # how many grants in a row went to another process than the one before
    last_use: float = 0.0
    expiry: asyncio.TimerHandle | None = None

    @property
    def exists(self) -> bool:
        return self.version != NEVER

    def state_for(self, known: Stamp | None) -> State:
        """What a grant has to say to who knows that version (r[grant.state], r[grant.full], r[grant.smallest-state])."""
        if known is not None and known != NEVER:
            versions = [version for version, _ in self.history]
            if known in versions:  # so it is of this life
                later = self.history[versions.index(known) + 1 :]
                names = frozenset().union(*(changed for _, changed in later))
                changes: wire.Delta = {name: self.attributes.get(name) for name in names}
                return State(wire.CHANGED, changes) if later else State(wire.UNCHANGED, {})
        return State(wire.ALL, dict(self.attributes))

    def wanted_by(self) -> Wait | None:
        """The first waiter that is connected; the others are passed by."""
        return next((wait for wait in self.queue if wait.process.connection is not None), None)

    def wait_of(self, process: Process) -> Wait | None:
        return next((wait for wait in self.queue if wait.process is process), None)


@dataclasses.dataclass(eq=False)
class Process:
    """One incarnation of a process."""

    name: bytes
    incarnation: int
    link: int
    minor: int = 0  # the version that it speaks
    connection: Connection | None = None
    lease: asyncio.TimerHandle | None = None  # None: it has no lease
    grants: dict[bytes, Grant] = dataclasses.field(default_factory=dict)
    waits: dict[bytes, Wait] = dataclasses.field(default_factory=dict)

    def send(self, message: Message) -> None:
        """Sends, if it is connected; else the next hello brings it out."""
        if self.connection is not None:
            self.connection.send(message)


def cancel(*timers: asyncio.TimerHandle | None) -> None:
    for timer in timers:
        if timer is not None:
            timer.cancel()


def changed_attributes(attributes: dict[bytes, bytes], delta: wire.Delta) -> dict[bytes, bytes]:
    """The attributes after a delta."""
    after = dict(attributes)
    for name, value in delta.items():
        if value is None:
            after.pop(name, None)
        else:
            after[name] = value
    return after


class Store:
    """All that a store knows, and what it does about each message."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # Rises with every start, as long as the wall clock does not go back between two of them (glossary: epoch).
        self.epoch = time.time_ns() // 1_000_000
        self.drawn = 0
        self.last_ticket = NEVER
        self.processes: dict[bytes, Process] = {}
        self.sessions: dict[bytes, Session] = {}
        self.connections = 0

    # ---- small helpers

    def draw(self) -> Stamp:
        """The next stamp; all stamps come from one counter, so each is greater than all before."""
        self.drawn += 1
        return Stamp(self.epoch, self.drawn)

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()  # r[time.no-wall-clock]

    @staticmethod
    def after(milliseconds: float, call: Callable[..., None], *args: object) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(milliseconds / 1000, call, *args)

    def session(self, name: bytes) -> Session:
        """The session of an id; ends it first when its time is over (r[expiry.ends])."""
        found = self.sessions.get(name)
        if found is not None:
            self.look_at_age(found)
        return self.sessions.setdefault(name, Session(name))

    def forget_if_nothing(self, session: Session) -> None:
        """A session that does not exist and that nobody holds or wants needs no memory."""
        if not session.exists and session.grant is None and not session.queue:
            cancel(session.expiry)
            if self.sessions.get(session.id) is session:
                del self.sessions[session.id]

    def current(self, process: Process, name: bytes, token: Stamp) -> Grant | None:
        """The grant of this process under this token, if it is current."""
        grant = process.grants.get(name)
        return grant if grant is not None and grant.token == token else None

    # ---- messages

    def handle(self, connection: Connection, message: Message) -> None:
        """Does what a message says. Raises WireError to refuse it."""
        process = connection.process
        if process is None:
            if not isinstance(message, wire.Hello):
                raise WireError(wire.UNEXPECTED, "the first message has to be a hello")  # r[connect.refuses-misplaced]
            self.hello(connection, message)
        elif process.connection is not connection:
            return  # r[connect.old-connection]
        elif isinstance(message, wire.Hello):
            raise WireError(wire.UNEXPECTED, "a second hello")  # r[connect.refuses-misplaced]
        elif isinstance(message, wire.Goodbye):
            self.goodbye(process)
        elif process.lease is None:
            process.send(wire.LeaseEnded())  # r[lease.told]
        else:
            self.handle_known(process, message)

    def handle_known(self, process: Process, message: Message) -> None:
        """A message of a process that has a lease."""
        match message:
            case wire.KeepAlive():
                self.keep_alive(process, message)
            case wire.Acquire(name, request, patience, known, ticket, existing):
                existing = existing and process.minor >= wire.EXISTING_SINCE  # r[wire.newer]
                self.acquire(process, wire.Wish(name, request, patience, known, ticket, existing))
            case wire.Cancel():
                self.cancel(process, message)
            case wire.Commit():
                self.commit(process, message)
            case wire.Release():
                self.release(process, message)
            case wire.Busy():
                self.busy(process, message)
            case wire.Destroy():
                self.destroy(process, message)
            case wire.Rename():
                self.rename(process, message)

    # ---- hello

    def hello(self, connection: Connection, hello: wire.Hello) -> None:
        old = self.processes.get(hello.process)
        if old is not None and hello.incarnation < old.incarnation and (old.lease is not None or old.grants):
            connection.last_words(wire.Superseded())  # r[connect.superseded]
            return
        if old is not None and hello.incarnation == old.incarnation and hello.link <= old.link:
            raise WireError(wire.UNEXPECTED, "a hello of an earlier connection")  # r[connect.late-hello]
        same = old is not None and hello.incarnation == old.incarnation
        has_lease = old is not None and old.lease is not None
        if not has_lease and self.leases() >= self.settings.processes_max:
            connection.last_words(wire.Full())  # r[limit.processes]
            return
        if old is not None:
            self.replace_connection(old, superseded=not same)
        if old is not None and not same:
            self.end_lease(old)  # r[connect.new-incarnation]
        process = old if old is not None and same else Process(hello.process, hello.incarnation, hello.link)
        process.link, process.connection, connection.process = hello.link, connection, process
        process.minor = hello.minor_max
        self.processes[hello.process] = process
        self.renew(process)
        self.welcome(process, hello)

    def leases(self) -> int:
        return sum(process.lease is not None for process in self.processes.values())

    @staticmethod
    def replace_connection(process: Process, superseded: bool) -> None:
        """Closes the connection that a newer one replaces (r[connect.closes-replaced])."""
        connection, process.connection = process.connection, None
        if connection is not None:
            words: Message | None
            if process.lease is None:
                words = None  # it has said goodbye, or was told that its lease has ended
            elif superseded:
                words = wire.Superseded()
            else:
                words = wire.Fault(wire.UNEXPECTED, "a newer connection has come")
            connection.last_words(words)

    def welcome(self, process: Process, hello: wire.Hello) -> None:
        """Settles what the process and the store know of each other, and says so."""
        holds, wishes = dict.fromkeys(hello.holds), {wish.session: wish for wish in hello.waits}
        known: list[Hold] = []
        ended: list[tuple[Hold, Hold | None]] = []
        claimed: set[Hold] = set()
        for hold in holds:
            if self.current(process, *hold) is not None:
                known.append(hold)  # r[reconnect.known]
                claimed.add(hold)
            elif (renamed := self.renamed(process, hold)) is not None:
                ended.append((hold, renamed))  # r[reconnect.ended]
                claimed.add(renamed)
            elif self.is_nothing(hold.session):
                ended.append((hold, None))
        limits = wire.StoreLimits(**{field.name: getattr(self.settings, field.name) for field in dataclasses.fields(wire.StoreLimits)})
        process.send(wire.Welcome(hello.sent, self.settings.lease_ms, known, ended, limits))  # r[lease.echo], r[limit.told-in-welcome]
        self.settle_grants(process, claimed, wishes)
        self.settle_waits(process, wishes, {hold.session for hold in known})

    def is_nothing(self, name: bytes) -> bool:
        """Whether a session neither exists nor is held. A process that is away may wait for it."""
        session = self.session(name)
        self.forget_if_nothing(session)
        return not session.exists and session.grant is None

    @staticmethod
    def renamed(process: Process, hold: Hold) -> Hold | None:
        """The grant that an old one of the process is since a rename, if the process still holds it."""
        return next((grant.hold for grant in process.grants.values() if grant.renamed_from == hold), None)

    def settle_grants(self, process: Process, claimed: set[Hold], wishes: dict[bytes, wire.Wish]) -> None:
        """Repeats the recalls of grants that the hello claims, and ends those that it does not want."""
        for grant in list(process.grants.values()):
            wish = wishes.get(grant.session.id)
            if grant.hold in claimed:
                self.say_recall(grant)  # r[recall.repeated]
            elif wish is None or wish.request != grant.request:
                self.end_grant(grant)  # r[reconnect.unclaimed], r[reconnect.no-token-twice]

    def settle_waits(self, process: Process, wishes: dict[bytes, wire.Wish], known: set[bytes]) -> None:
        """Drops the waits that the hello does not name, and answers its wishes."""
        for name, wait in list(process.waits.items()):
            if name not in wishes:
                self.drop_wait(self.sessions[name], wait)  # r[reconnect.dropped-wait]
        for name, wish in wishes.items():
            if name in known:
                continue  # r[reconnect.not-both]
            if (kept := process.waits.get(name)) is not None:
                kept.request = min(kept.request, wish.request)  # "the request of the Hello counts"
            self.acquire(process, wish)  # r[reconnect.waits], r[reconnect.untold]

    # ---- leases

    def renew(self, process: Process) -> None:
        """A whole lease from now on (r[lease.whole]); nothing but a hello and a keep-alive does this (r[lease.only-keep-alive])."""
        cancel(process.lease)
        process.lease = self.after(self.settings.lease_ms + 1, self.lease_over, process)

    def lease_over(self, process: Process) -> None:
        self.end_lease(process)  # r[lease.ends]
        process.send(wire.LeaseEnded())

    def end_lease(self, process: Process) -> None:
        """Ends the lease, and with it all waits and grants."""
        cancel(process.lease)
        process.lease = None
        for name, wait in list(process.waits.items()):
            self.drop_wait(self.sessions[name], wait)
        for grant in list(process.grants.values()):
            self.end_grant(grant)
        if process.connection is None and len(self.processes) > 4 * self.settings.processes_max:
            if self.processes.get(process.name) is process:
                del self.processes[process.name]

    def keep_alive(self, process: Process, message: wire.KeepAlive) -> None:
        self.renew(process)
        recalls = [(grant.hold, self.notice(grant.recall)) for grant in process.grants.values() if grant.recall is not None]
        process.send(wire.Alive(message.sent, self.settings.lease_ms, recalls))  # r[lease.alive], r[recall.repeated]

    def goodbye(self, process: Process) -> None:
        """Ends the lease; the connection is closed when the process had time to close it (messages.md: both sides do)."""
        self.end_lease(process)  # r[lease.goodbye]
        if process.connection is not None:
            self.after(LINGER_S * 1000, process.connection.last_words, None)

    def disconnected(self, connection: Connection) -> None:
        """A connection is lost: no grant ends (r[lease.frees-nothing]), but nobody tries to get from who is away."""
        process = connection.process
        if process is None or process.connection is not connection:
            return
        process.connection = None
        for grant in process.grants.values():
            self.end_tries(grant)  # r[try.refused-otherwise]
        for name in process.waits:
            self.spare_holder(self.sessions[name])

    # ---- requests

    def acquire(self, process: Process, wish: wire.Wish, with_release: bool = False) -> None:
        """A request. One that comes with a release is queued in any case (limits.md)."""
        session = self.session(wish.session)
        grant, wait = session.grant, session.wait_of(process)
        if grant is not None and grant.process is process and grant.is_spoilt and wish.request > grant.request:
            self.end_grant(grant)  # it has heard that the grant is lost: r[limit.until-heard]
            session = self.session(wish.session)
            grant = session.grant
        if grant is not None and grant.process is process:
            if wish.request >= grant.request:  # r[grant.no-late-request]
                grant.request, grant.known = wish.request, wish.known
                self.end_tries(grant)  # the holder has a thread that waits for it
                self.say_granted(grant)  # r[grant.same-again]
        elif wait is not None:
            self.ask_again(session, wait, wish)
        elif not with_release and len(process.grants) + len(process.waits) >= self.settings.grants_max:
            self.refuse(process, wish.session, wish.request, Refusal(wire.LIMIT, limit=1))  # r[limit.grants]
        elif grant is None and wish.existing and not session.exists:
            self.refuse(process, wish.session, wish.request, Refusal(wire.ABSENT))  # r[exists.absent]
        elif grant is None:
            self.grant(session, process, wish.request, wish.known)  # r[grant.at-once], r[queue.passes-by]
        elif wish.patience == wire.TRY and (session.queue or grant.process.connection is None or grant.busy):
            self.refuse(process, wish.session, wish.request, Refusal(wire.WOULD_BLOCK))  # r[try.refused-otherwise]
        elif not with_release and len(session.queue) >= self.settings.waiters_max:
            self.refuse(process, wish.session, wish.request, Refusal(wire.LIMIT, limit=2))  # r[limit.waiters]
        else:
            self.enqueue(session, process, wish)
        self.forget_if_nothing(session)

    def ask_again(self, session: Session, wait: Wait, wish: wire.Wish) -> None:
        """A repetition, or a request that takes the place of an earlier one (r[queue.same-ticket])."""
        if wish.request < wait.request:
            if session.grant is None:
                self.pass_on(session)
            return  # r[grant.no-late-request]
        wait.request, wait.known = wish.request, wish.known
        wait.patience = max(wait.patience, wish.patience)
        wait.existing = wait.existing and wish.existing  # r[exists.never-stricter]
        if session.grant is None:  # it was away, and nobody has taken the session meanwhile
            self.pass_on(session)
            return
        wait.process.send(wire.Queued(session.id, wait.request, wait.ticket))
        self.recall_for(session)

    def enqueue(self, session: Session, process: Process, wish: wire.Wish) -> None:
        """Puts a request where its ticket belongs, asks the holder, and looks whether all wait for each other."""
        ticket = wish.ticket
        if ticket is None or ticket > self.last_ticket or any(wait.ticket == ticket for wait in session.queue):
            ticket = self.last_ticket = self.draw()  # r[queue.tickets-rise], r[queue.presented]
        wait = Wait(process, wish.request, wish.patience, wish.known, ticket, wish.existing)
        wait.timer = self.after(self.settings.wait_ms, self.waited_long, session, wait)
        session.queue.append(wait)
        session.queue.sort(key=lambda one: one.ticket)  # r[queue.fifo-connected]
        process.waits[session.id] = wait
        process.send(wire.Queued(session.id, wait.request, ticket))  # r[queue.told]
        self.recall_for(session)
        for grant in list(process.grants.values()):
            if session.id in grant.blocked_on:
                self.find_deadlock(grant, session.id)

    def recall_for(self, session: Session) -> None:
        """Recalls the grant that stands in the way of who waits (r[recall.asks], r[try.recalls])."""
        if session.grant is not None and session.queue:
            patient = any(wait.patience == wire.WAIT for wait in session.queue)
            self.recall(session.grant, wire.WAIT_RECALL if patient else wire.TRY_RECALL)

    def waited_long(self, session: Session, wait: Wait) -> None:
        self.end_wait(session, wait, Refusal(wire.DEADLINE))  # r[end.answered]

    def drop_wait(self, session: Session, wait: Wait) -> None:
        """Takes a request out of its queue."""
        cancel(wait.timer)
        session.queue.remove(wait)
        del wait.process.waits[session.id]
        self.spare_holder(session)

    def end_wait(self, session: Session, wait: Wait, why: Refusal) -> None:
        self.drop_wait(session, wait)
        self.refuse(wait.process, session.id, wait.request, why)

    @staticmethod
    def refuse(process: Process, name: bytes, request: int, why: Refusal) -> None:
        process.send(wire.Refused(name, request, why))

    def refuse_tries(self, session: Session) -> None:
        for wait in [wait for wait in session.queue if wait.patience == wire.TRY]:
            self.end_wait(session, wait, Refusal(wire.WOULD_BLOCK))

    def end_tries(self, grant: Grant) -> None:
        """Refuses the tries, and ends a recall for expiry or try: nobody waits for the session any more (store.md, tables)."""
        self.refuse_tries(grant.session)
        if grant.recall is not None and grant.recall.reason <= wire.TRY_RECALL:
            self.drop_recall(grant)
            self.watch_age(grant.session)

    def cancel(self, process: Process, message: wire.Cancel) -> None:
        session = self.session(message.session)
        grant, wait = process.grants.get(session.id), session.wait_of(process)
        if grant is not None and grant.request == message.request:
            self.say_granted(grant)  # r[end.cancel-crossed]
            return
        if wait is not None and wait.request <= message.request:
            self.drop_wait(session, wait)
        self.refuse(process, message.session, message.request, Refusal(wire.CANCELLED))  # r[end.cancelled]
        self.forget_if_nothing(session)

    # ---- grants

    def grant(self, session: Session, process: Process, request: int, known: Stamp | None) -> None:
        """Grants a session that nobody holds; says in the grant that others wait, if they do (r[recall.asks])."""
        session.moves = session.moves + 1 if session.last_holder not in (b"", process.name) else 0
        session.last_holder = process.name
        give_back = session.moves >= GIVE_BACK_AFTER  # r[grant.give-back]
        grant = Grant(process, session, self.draw(), request, known, give_back)  # r[grant.token-rises]
        session.grant = process.grants[session.id] = grant
        self.refuse_tries(session)  # r[try.refused-otherwise]
        if session.wanted_by() is not None:
            self.make_recall(grant, wire.WAIT_RECALL)
        self.watch_age(session)
        self.say_granted(grant)

    def say_granted(self, grant: Grant) -> None:
        session = grant.session
        notice = None if grant.recall is None else self.notice(grant.recall)
        state = session.state_for(grant.known)
        message = wire.Granted(session.id, grant.request, grant.token, session.version, state, notice, grant.give_back)
        grant.process.send(message)

    def end_grant(self, grant: Grant) -> None:
        """Ends a grant for whatever reason, and passes the session on (r[queue.passes-by])."""
        self.drop_grant(grant)
        session = grant.session
        self.pass_on(session)
        self.look_at_age(session)
        self.forget_if_nothing(session)

    def pass_on(self, session: Session) -> None:
        """Grants a free session to the first waiter that is connected, if there is one (r[queue.fifo-connected], r[grant.connected])."""
        for wait in [] if session.exists else list(session.queue):
            if wait.existing:
                self.end_wait(session, wait, Refusal(wire.ABSENT))  # r[exists.absent]
            elif wait.process.connection is not None:
                break
        first = session.wanted_by()
        if first is not None:
            self.drop_wait(session, first)
            self.grant(session, first.process, first.request, first.known)

    def drop_grant(self, grant: Grant) -> None:
        self.drop_recall(grant)
        grant.session.grant = None
        del grant.process.grants[grant.session.id]

    # ---- recalls

    def recall(self, grant: Grant, reason: int) -> None:
        """Asks for a grant, unless it is asked for already for as good a reason (r[recall.once])."""
        if self.make_recall(grant, reason):
            self.say_recall(grant)

    def make_recall(self, grant: Grant, reason: int) -> bool:
        """Recalls a grant, and tells whether that is news. A holder that is away hears of it later (r[recall.asks])."""
        recall = grant.recall
        if recall is not None and recall.reason >= reason:
            return False
        if recall is None:
            recall = grant.recall = Recalled(reason)
            recall.remind = self.after(self.settings.remind_ms, self.remind, grant)
        recall.reason = reason
        if reason >= wire.WAIT_RECALL and recall.deadline is None:  # r[recall.deadline-kept], r[recall.mild]
            self.set_deadline(grant, recall)
        return True

    def set_deadline(self, grant: Grant, recall: Recalled) -> None:
        cancel(recall.revoke)
        recall.deadline = self.now() + self.settings.recall_ms / 1000
        recall.revoke = self.after(self.settings.recall_ms + 1, self.revoke, grant)

    def is_for_nobody(self, grant: Grant) -> bool:
        """Whether a grant is recalled for waiters of which none is left that is connected (r[recall.for-nobody])."""
        waiters = (wait for wait in grant.session.queue if wait.patience == wire.WAIT)
        is_wanted = any(wait.process.connection is not None for wait in waiters)
        return grant.recall is not None and grant.recall.reason == wire.WAIT_RECALL and not is_wanted

    def spare_holder(self, session: Session) -> None:
        """A waiter or its connection has left. If it was the last waiter, the holder receives a later deadline (r[recall.spares])."""
        grant = session.grant
        if grant is None or grant.recall is None or grant.recall.deadline is None or not self.is_for_nobody(grant):
            return
        gained = self.now() + self.settings.recall_ms / 1000 - grant.recall.deadline
        if gained >= self.settings.remind_ms / 1000:  # r[recall.once]
            self.set_deadline(grant, grant.recall)
            self.say_recall(grant)

    def notice(self, recall: Recalled) -> Notice:
        """How a recall is said: the milliseconds that are left, from now."""
        left = 0.0 if recall.deadline is None else max(0.0, recall.deadline - self.now())
        return Notice(recall.reason, int(left * 1000))  # rounded down: r[recall.not-early]

    def say_recall(self, grant: Grant) -> None:
        if grant.recall is not None:
            grant.process.send(wire.Recall(grant.session.id, grant.token, self.notice(grant.recall)))

    def remind(self, grant: Grant) -> None:
        """Says a recall again (r[recall.reminds])."""
        if grant.recall is not None:
            if self.is_for_nobody(grant):
                self.set_deadline(grant, grant.recall)
            self.say_recall(grant)
            grant.recall.remind = self.after(self.settings.remind_ms, self.remind, grant)

    def revoke(self, grant: Grant) -> None:
        """The deadline has passed: ends this one grant (r[recall.revokes]), unless nobody is left to wait (r[recall.for-nobody])."""
        if grant.recall is not None and self.is_for_nobody(grant):
            self.set_deadline(grant, grant.recall)
            self.say_recall(grant)
            return
        grant.process.send(wire.Revoked(grant.session.id, grant.token, wire.RECALL_DEADLINE))
        self.end_grant(grant)

    @staticmethod
    def drop_recall(grant: Grant) -> None:
        """A recall ends with its grant (r[recall.ends-with-grant])."""
        if grant.recall is not None:
            cancel(grant.recall.remind, grant.recall.revoke)
        grant.recall, grant.busy, grant.blocked_on = None, False, []

    def busy(self, process: Process, message: wire.Busy) -> None:
        grant = self.current(process, message.session, message.token)
        if grant is None or grant.recall is None:
            return  # r[recall.stray-busy]
        grant.busy, grant.blocked_on = True, list(message.blocked_on)
        self.used(grant.session, self.now())  # r[expiry.busy-is-use]
        self.end_tries(grant)  # r[try.refused-when-busy], r[recall.mild-answered]
        for name in grant.blocked_on:
            self.find_deadlock(grant, name)

    def operator_recalls(self, name: bytes) -> None:
        """An operator wants a session back (r[recall.operator])."""
        session = self.sessions.get(name)
        if session is not None and session.grant is not None:
            self.recall(session.grant, wire.OPERATOR)

    # ---- deadlocks

    def find_deadlock(self, grant: Grant, name: bytes) -> None:
        """Ends the wait of the grant's holder for ``name`` if it closes a cycle (r[deadlock.found], r[deadlock.true])."""
        session = self.sessions.get(name)
        wait = None if session is None else session.wait_of(grant.process)
        if session is None or wait is None or (path := self.path(name, grant.session.id, set())) is None:
            return
        self.end_wait(session, wait, Refusal(wire.DEADLOCK, cycle=(grant.session.id, *path)))

    def path(self, start: bytes, end: bytes, seen: set[bytes]) -> list[bytes] | None:
        """Sessions from ``start`` on, each one's holder busy, blocked on the next and waiting for it, the last one's on ``end``."""
        if start in seen or (session := self.sessions.get(start)) is None or session.grant is None:
            return None
        seen.add(start)
        for name in session.grant.blocked_on:
            if name not in session.grant.process.waits:
                continue
            if name == end:
                return [start]
            if (rest := self.path(name, end, seen)) is not None:
                return [start, *rest]
        return None

    # ---- writes

    def commit(self, process: Process, message: wire.Commit) -> None:
        grant = self.current(process, message.session, message.token)
        if grant is None or grant.is_spoilt:
            process.send(wire.Revoked(message.session, message.token, wire.FENCED))  # r[fence.commit]
            return
        session = grant.session
        if not self.may_write(session, message):  # r[limit.ends-grant], r[commit.base-ends-grant]
            process.send(wire.Revoked(session.id, grant.token, wire.FENCED))
            grant.is_spoilt = True  # passed on when the holder has heard it: r[limit.until-heard]
            self.recall(grant, wire.OPERATOR)
            return
        if message.base == session.version:  # a lower base: it was accepted before (r[commit.repeated])
            self.write(session, message.delta)
        self.used(session, self.now())
        process.send(wire.Committed(session.id, grant.token, session.version, message.base))  # r[commit.answered]

    def release(self, process: Process, message: wire.Release) -> None:
        grant = self.current(process, message.session, message.token)
        known: Stamp | None = None
        if grant is None:
            process.send(wire.Released(message.session, message.token))  # r[release.old]
        elif not self.may_write(grant.session, message):  # r[limit.ends-grant], r[commit.base-ends-grant]
            process.send(wire.Released(message.session, message.token))
            self.end_grant(grant)
        else:
            session = grant.session
            self.write(session, message.delta)  # r[release.written]; what a commit brought before comes again, and is the same
            self.used(session, self.now() - message.idle_ms / 1000)  # r[expiry.not-early]
            known = session.version  # what the request of a release knows: r[grant.state]
            process.send(wire.Released(session.id, grant.token, known))  # r[release.answered]
            self.end_grant(grant)
        if message.request is not None:  # r[release.requeued]; behind who waits: r[queue.requeue-last]
            self.acquire(process, wire.Wish(message.session, message.request, wire.WAIT, known), with_release=True)

    def may_write(self, session: Session, message: wire.Commit | wire.Release) -> bool:
        """Whether changes are to a version that there was, and within the limits or making nothing larger."""
        if not message.delta:
            return True
        if message.base > session.version:
            return False
        limits, before = self.settings, session.attributes
        after = changed_attributes(before, message.delta)
        size = {id(of): sum(len(name) + len(value) for name, value in of.items()) for of in (before, after)}
        return (
            len(after) <= max(limits.attributes_max, len(before))
            and size[id(after)] <= max(limits.session_bytes_max, size[id(before)])
            and all(
                len(after[name]) <= max(limits.attribute_bytes_max, len(before.get(name, b"")))
                for name in message.delta
                if name in after
            )
        )

    def write(self, session: Session, delta: wire.Delta) -> None:
        """Applies changes, and draws a version for them."""
        if not delta:
            return
        after = changed_attributes(session.attributes, delta)
        session.attributes, session.version = after, self.draw()
        session.history.append((session.version, frozenset(delta)))
        del session.history[:-HISTORY]

    # ---- time to live

    def used(self, session: Session, when: float) -> None:
        session.last_use = when
        self.watch_age(session)

    def age_left(self, session: Session) -> float:
        """How many seconds the session has to live if it is not used."""
        return session.last_use + self.settings.time_to_live_ms / 1000 - self.now()

    def watch_age(self, session: Session) -> None:
        cancel(session.expiry)
        if self.settings.time_to_live_ms and session.exists:  # r[expiry.once-written]
            session.expiry = self.after(max(0.0, self.age_left(session)) * 1000 + 1, self.look_at_age, session)

    def look_at_age(self, session: Session) -> None:
        """Ends a session whose time is over, or asks its holder whether it is (r[expiry.ends], r[expiry.recalls])."""
        if not self.settings.time_to_live_ms or not session.exists or self.age_left(session) > 0:
            return
        if session.grant is not None:  # r[expiry.not-while-held]
            if session.grant.recall is None:
                self.recall(session.grant, wire.EXPIRY)
        else:
            self.refuse_waiters(session)  # they are away, or one of them would hold it
            self.end_session(session)

    def end_session(self, session: Session) -> None:
        cancel(session.expiry)
        if self.sessions.get(session.id) is session:
            del self.sessions[session.id]

    # ---- destroy and rename

    def destroy(self, process: Process, message: wire.Destroy) -> None:
        grant = self.current(process, message.session, message.token)
        if grant is not None:
            self.drop_grant(grant)
            self.refuse_waiters(grant.session)
            self.end_session(grant.session)
        elif not self.is_nothing(message.session):
            process.send(wire.Revoked(message.session, message.token, wire.FENCED))  # r[destroy.answered-old]
            return
        process.send(wire.Gone(message.session, message.token))  # r[destroy.answered]

    def refuse_waiters(self, session: Session) -> None:
        for wait in list(session.queue):
            self.end_wait(session, wait, Refusal(wire.GONE))  # r[destroy.waiters]

    def rename(self, process: Process, message: wire.Rename) -> None:
        old = Hold(message.session, message.token)
        grant = self.current(process, *old)
        if grant is None:
            before = self.renamed(process, old)
            if before is not None and before.session == message.to:
                process.send(wire.Gone(*old, before))  # r[rename.repeated]
            else:
                process.send(wire.Revoked(*old, wire.FENCED))  # r[fence.rename]
        elif not self.is_nothing(message.to) or message.to in self.sessions:
            process.send(wire.NotRenamed(*old, Refusal(wire.ID_TAKEN)))  # r[rename.taken]
        else:
            self.move(grant, message.to)
            process.send(wire.Gone(*old, grant.hold))  # r[rename.moves]

    def move(self, grant: Grant, to: bytes) -> None:
        """Gives a session another id, and its grant another token (r[rename.new-token])."""
        session, process = grant.session, grant.process
        self.refuse_waiters(session)
        self.drop_recall(grant)  # r[recall.ends-with-grant]
        del self.sessions[session.id], process.grants[session.id]
        grant.renamed_from, grant.token, session.id = grant.hold, self.draw(), to
        self.sessions[to], process.grants[to] = session, grant


class Connection:
    """One connection: frames in, frames out."""

    def __init__(self, store: Store, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.store, self.reader, self.writer = store, reader, writer
        self.process: Process | None = None
        self.open = True
        writer.transport.set_write_buffer_limits(high=store.settings.outgoing_bytes_max // 2)

    def send(self, message: Message) -> None:
        if not self.open:
            return
        self.writer.write(wire.encode(message))
        if self.writer.transport.get_write_buffer_size() > self.store.settings.outgoing_bytes_max:
            self.last_words(wire.Fault(wire.SLOW, "too much waits to be read"))  # r[limit.slow]

    def last_words(self, message: Message | None) -> None:
        """Says something and nothing behind it (r[wire.fault-last]), and closes."""
        if not self.open:
            return
        if message is not None:
            self.writer.write(wire.encode(message))
        self.open = False
        self.store.disconnected(self)
        if self.writer.can_write_eof():
            self.writer.write_eof()
        asyncio.get_running_loop().call_later(LINGER_S, self.writer.transport.abort)

    def fault(self, code: int, text: str) -> None:
        self.last_words(wire.Fault(code, text[:256]))  # r[wire.fault]

    async def run(self) -> None:
        """Serves the connection until it ends."""
        settings = self.store.settings
        if self.store.connections > settings.connections_max:
            self.fault(wire.BUSY, "too many connections")  # r[limit.connections]
        hello = Store.after(settings.hello_ms, self.hello_late)
        try:
            await self.read()
        except OSError:
            pass
        finally:
            hello.cancel()
            self.store.disconnected(self)
            self.open = False
            self.writer.close()

    def hello_late(self) -> None:
        if self.process is None:
            self.fault(wire.SILENT, "no hello came")  # r[connect.silent-before-hello]

    async def read(self) -> None:
        """Reads to the end; what comes behind the end of what is taken is read, so that the last words arrive, and dropped."""
        settings = self.store.settings
        limits = wire.Limits(settings.frame_bytes_max, settings.changes_max, settings.items_max)
        decoder = wire.Decoder(from_store=False, limits=limits)
        while data := await self.reader.read(65_536):
            if self.open:
                self.take(decoder, data)
                await self.writer.drain()
        if decoder.within_message():
            self.fault(wire.MALFORMED, "the stream was cut off")  # r[wire.truncated]

    def take(self, decoder: wire.Decoder, data: bytes) -> None:
        try:
            for message in decoder.feed(data):
                if isinstance(message, wire.Fault):
                    self.last_words(None)
                else:
                    self.store.handle(self, message)
                if not self.open:
                    return
        except WireError as error:
            self.fault(error.code, error.text)


async def listen_to_operator(store: Store, address: str) -> None:
    """Listens for operators: each line is the id of a session to recall."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            store.operator_recalls(line.rstrip(b"\r\n"))
        writer.close()

    host, _, port = address.rpartition(":")
    await asyncio.start_server(connected, host, int(port))


async def serve(host: str, port: int, settings: Settings, operator: str | None) -> None:
    """Listens, and serves for ever."""
    store = Store(settings)
    if operator is not None:
        await listen_to_operator(store, operator)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        store.connections += 1
        try:
            await Connection(store, reader, writer).run()
        finally:
            store.connections -= 1

    server = await asyncio.start_server(connected, host, port)
    address = server.sockets[0].getsockname()
    print(f"listening on {address[0]}:{address[1]}", flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:7420", help="address and port")
    parser.add_argument("--operator", help="address and port where each line names a session to recall; for operators only")
    for field in dataclasses.fields(Settings):
        parser.add_argument("--" + field.name.replace("_", "-"), type=int, default=field.default)
    options = vars(parser.parse_args())
    operator = options.pop("operator")
    host, _, port = options.pop("listen").rpartition(":")
    try:
        asyncio.run(serve(host, int(port), Settings(**options), operator))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
