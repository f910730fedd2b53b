"""Drives ``client.py`` for the suite, by JSON lines: see ``docs/src/conform/adapter.md``."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import client
import tenure_wire as wire
from client import GrantLost, Guard, Process, Refused, Thread

KINDS = {
    wire.WOULD_BLOCK: "would-block",
    wire.CANCELLED: "cancelled",
    wire.DEADLINE: "deadline",
    wire.DEADLOCK: "deadlock",
    wire.LIMIT: "limit",
    wire.GONE: "gone",
    wire.ALREADY_LOCKED: "already-locked",
    wire.NOT_HELD: "not-held",
    wire.ID_TAKEN: "id-taken",
    wire.STOPPING: "shutting-down",
}
Command = dict[str, Any]
Answer = dict[str, Any]


class Failure(Exception):
    """An error that only the adapter knows."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclasses.dataclass(eq=False)
class Lock:
    """What a ``lock`` command has got."""

    thread: Thread
    guard: Guard
    names: list[bytes] | None
    left: bool = False

    @property
    def session(self) -> bytes:
        return self.guard.local.id


def error(failure: Exception) -> Answer:
    """An exception, as an answer spells it."""
    if isinstance(failure, Refused):
        cycle = {"cycle": [name.hex() for name in failure.why.cycle]} if failure.why.kind == wire.DEADLOCK else {}
        return {"kind": KINDS[failure.why.kind], "text": str(failure), **cycle}
    if isinstance(failure, GrantLost):
        return {"kind": failure.reason.replace(" ", "-"), "text": str(failure)}
    if isinstance(failure, Failure):
        return {"kind": failure.kind}
    return {"kind": "internal", "text": repr(failure)}


class Adapter:
    """The process, its locks, and the commands that are under way."""

    def __init__(self) -> None:
        self.process: Process | None = None
        self.locks: dict[int, Lock] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.threads: dict[int, Thread] = {}  # of locks without an answer

    def there(self) -> Process:
        if self.process is None:
            raise Failure("not-connected")
        return self.process

    def lock_of(self, command: Command) -> Lock:
        """The lock that a command names; raises when it has ended or lost its grant."""
        lock = self.locks.get(command["lock"])
        if lock is None or lock.left:
            raise Failure("not-held")
        self.there().check_lease()
        if lock.guard.poison is not None:
            raise GrantLost(lock.guard.poison)
        return lock

    # ---- commands

    async def about(self, command: Command) -> Answer:
        return {"adapter": 1, "library": "tenure client.py 1.0", "features": []}

    async def connect(self, command: Command) -> Answer:
        names = {field.name for field in dataclasses.fields(client.Settings)}
        settings = client.Settings(**{key: value for key, value in (command.get("settings") or {}).items() if key in names})
        host, _, port = command["store"].rpartition(":")
        incarnation = command.get("incarnation")
        if incarnation is None:
            incarnation = time.time_ns() // 1_000_000
        self.process = Process(host.strip("[]"), int(port), command["process"].encode(), incarnation, settings)
        self.process.start()
        await self.process.ready.wait()
        if self.process.superseded:
            raise GrantLost("superseded")
        return {"settings": dataclasses.asdict(settings)}

    async def lock(self, command: Command) -> Answer:
        process, thread = self.there(), command["thread"]
        session = bytes.fromhex(command["session"])
        names = None if command.get("attributes") is None else [bytes.fromhex(name) for name in command["attributes"]]
        future = process.lock(thread, session, names, bool(command.get("try")), command.get("wait_ms"))
        if not future.done():
            self.threads[command["id"]] = thread
        try:
            guard = await future
        finally:
            self.threads.pop(command["id"], None)
        lock = self.locks[command["id"]] = Lock(thread, guard, names)
        if guard.poison is not None:
            return {"token": list(guard.token), "values": {}}  # lost in the same moment: the next command tells
        found = {name: process.read(thread, lock.session, name) for name in names or process.names(thread, lock.session)}
        return {"token": list(guard.token), "values": {name.hex(): value.hex() for name, value in found.items() if value is not None}}

    async def cancel(self, command: Command) -> Answer:
        number = command["command"]
        if number in self.threads:
            self.there().cancel_wait(self.threads[number])
        elif number in self.tasks:
            self.tasks[number].cancel()
        return {}

    async def read(self, command: Command) -> Answer:
        lock, name = self.lock_of(command), bytes.fromhex(command["attribute"])
        self.check_name(lock, name)
        value = self.there().read(lock.thread, lock.session, name)
        return {"value": None if value is None else value.hex()}

    async def write(self, command: Command) -> Answer:
        lock, name = self.lock_of(command), bytes.fromhex(command["attribute"])
        self.check_name(lock, name)
        value = None if command.get("value") is None else bytes.fromhex(command["value"])
        self.there().write(lock.thread, lock.session, name, value)
        return {}

    @staticmethod
    def check_name(lock: Lock, name: bytes) -> None:
        if lock.names is not None and name not in lock.names:
            raise Failure("not-held")

    async def check(self, command: Command) -> Answer:
        self.lock_of(command)
        return {}

    async def recalled(self, command: Command) -> Answer:
        grant = self.lock_of(command).guard.local.grant
        return {"recalled": grant is not None and grant.recalled}

    async def commit(self, command: Command) -> Answer:
        lock = self.lock_of(command)
        version = await asyncio.shield(self.there().commit(lock.thread, lock.session))
        return {"version": list(version)}

    async def rename(self, command: Command) -> Answer:
        lock = self.lock_of(command)
        await asyncio.shield(self.there().rename(lock.thread, lock.session, bytes.fromhex(command["to"])))
        return {"token": list(lock.guard.token)}

    async def destroy(self, command: Command) -> Answer:
        lock = self.lock_of(command)
        process = self.there()
        try:
            await asyncio.shield(process.destroy(lock.thread, lock.session))
        except asyncio.CancelledError:
            raise
        except Exception:
            self.leave(lock, discard=True)
            raise
        lock.left = True
        return {}

    def leave(self, lock: Lock, discard: bool) -> None:
        """Ends a lock; a thread whose grant is lost has left when all its locks of that grant have ended."""
        lock.left = True
        process = self.there()
        process.check_lease()
        if lock.guard.poison is not None:
            if all(other.left for other in self.locks.values() if other.guard is lock.guard):
                if lock.guard.local.poisoned.get(lock.thread) is lock.guard:
                    del lock.guard.local.poisoned[lock.thread]
            raise GrantLost(lock.guard.poison)
        process.unlock(lock.thread, lock.session, lock.names, discard)

    async def unlock(self, command: Command) -> Answer:
        lock = self.locks.get(command["lock"])
        if lock is None or lock.left:
            raise Failure("not-held")
        self.leave(lock, discard=False)
        return {}

    async def discard(self, command: Command) -> Answer:
        lock = self.locks.get(command["lock"])
        if lock is None or lock.left:
            raise Failure("not-held")
        self.leave(lock, discard=True)
        return {}

    async def release(self, command: Command) -> Answer:
        self.there().give_back(bytes.fromhex(command["session"]))
        return {}

    async def shutdown(self, command: Command) -> Answer:
        await self.there().stop(command.get("within_ms", 5_000))
        return {}

    # ---- lines

    def begin(self, command: Command) -> None:
        """Begins a command; those that need not wait are done before the next one begins."""
        does: dict[str, Callable[[Command], Awaitable[Answer]]] = {
            "about": self.about, "connect": self.connect, "lock": self.lock, "cancel": self.cancel, "read": self.read,
            "write": self.write, "check": self.check, "recalled": self.recalled, "commit": self.commit, "rename": self.rename,
            "destroy": self.destroy, "unlock": self.unlock, "discard": self.discard, "release": self.release,
            "shutdown": self.shutdown,
        }  # fmt: skip
        do = does.get(command.get("do", ""))
        if do is None:
            say({"id": command["id"], "error": {"kind": "unsupported"}})
            return
        task = asyncio.create_task(self.carry_out(command, do))
        self.tasks[command["id"]] = task
        task.add_done_callback(lambda _: self.tasks.pop(command["id"], None))

    async def carry_out(self, command: Command, do: Callable[[Command], Awaitable[Answer]]) -> None:
        try:
            answer: Answer = {"ok": await do(command)}
        except asyncio.CancelledError:
            answer = {"error": {"kind": "cancelled"}}
        except Exception as failure:
            answer = {"error": error(failure)}
        say({"id": command["id"], **answer})


def say(answer: Answer) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def main() -> None:
    reader = asyncio.StreamReader(limit=2**26)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    adapter = Adapter()
    while line := await reader.readline():
        adapter.begin(json.loads(line))
        await asyncio.sleep(0)  # tasks begin in the order in which their commands came
    if adapter.process is not None:
        await adapter.process.close()


if __name__ == "__main__":
    asyncio.run(main())
