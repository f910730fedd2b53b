"""Processes of ``client.py`` against ``store.py``: ``python3 -m unittest test_together`` in this folder."""

from __future__ import annotations

import asyncio
import random
import unittest

import client
import store
import tenure_wire as wire
from client import GrantLost, Process, Refused

FAST = client.Settings(margin_ms=100, keep_alive_ms=300, resend_ms=400, recall_margin_ms=200)


class Together(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.store = store.Store(store.Settings(lease_ms=1500, recall_ms=1000, remind_ms=200, wait_ms=8000))
        self.connections: set[store.Connection] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = store.Connection(self.store, reader, writer)
            self.connections.add(connection)
            await connection.run()
            self.connections.discard(connection)

        self.server = await asyncio.start_server(connected, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.processes: list[Process] = []

    async def asyncTearDown(self) -> None:
        for process in self.processes:
            await process.close()
        self.server.close()
        for connection in list(self.connections):
            connection.writer.transport.abort()
        await asyncio.sleep(0.05)

    def process(self, name: str, incarnation: int = 1) -> Process:
        process = Process("127.0.0.1", self.port, name.encode(), incarnation, FAST)
        process.start()
        self.processes.append(process)
        return process

    async def write(self, process: Process, session: bytes, value: bytes) -> bytes | None:
        await process.lock("t", session, [b"a"], timeout_ms=5000)
        before = process.read("t", session, b"a")
        process.write("t", session, b"a", value)
        process.unlock("t", session)
        return before

    async def test_handoff(self) -> None:
        p, q = self.process("p"), self.process("q")
        self.assertIsNone(await self.write(p, b"s", b"1"))
        self.assertEqual(await self.write(q, b"s", b"2"), b"1")
        self.assertEqual(await self.write(p, b"s", b"3"), b"2")
        self.assertEqual(await self.write(p, b"s", b"4"), b"3")
        self.assertEqual(await self.write(q, b"s", b"5"), b"4")

    async def test_try(self) -> None:
        p, q = self.process("p"), self.process("q")
        await self.write(p, b"s", b"1")
        await q.lock("x", b"s", [b"a"], attempt=True)  # a cached grant is given up
        with self.assertRaises(Refused) as refused:
            await p.lock("t", b"s", [b"a"], attempt=True)
        self.assertEqual(refused.exception.why.kind, wire.WOULD_BLOCK)
        with self.assertRaises(Refused):
            await q.lock("y", b"s", [b"a"], attempt=True)

    async def test_late(self) -> None:
        p, q = self.process("p"), self.process("q")
        await p.lock("t", b"s", [b"a"])
        p.write("t", b"s", b"a", b"lost")
        self.assertIsNone(await self.write(q, b"s", b"2"))
        with self.assertRaises(GrantLost) as lost:
            p.unlock("t", b"s")
        self.assertEqual(lost.exception.reason, "late")

    async def test_commit_and_end(self) -> None:
        p, q = self.process("p"), self.process("q")
        await p.lock("t", b"s", None)
        p.write("t", b"s", b"a", b"1")
        await p.commit("t", b"s")
        renamed = await p.rename("t", b"s", b"r")
        self.assertEqual(p.guard("t", b"r").token, renamed.token)
        p.unlock("t", b"r")
        self.assertEqual(await self.write(q, b"r", b"2"), b"1")
        self.assertIsNone(await self.write(q, b"s", b"2"))
        await p.lock("t", b"r", None)
        with self.assertRaises(Refused) as refused:
            await p.rename("t", b"r", b"s")
        self.assertEqual(refused.exception.why.kind, wire.ID_TAKEN)
        await p.destroy("t", b"r")
        self.assertIsNone(await self.write(p, b"r", b"3"))

    async def test_deadlock(self) -> None:
        p, q = self.process("p"), self.process("q")
        await p.lock("t", b"1", [b"a"])
        await q.lock("t", b"2", [b"a"])
        first = p.lock("t", b"2", [b"a"], timeout_ms=5000)
        other = q.lock("t", b"1", [b"a"], timeout_ms=5000)
        done, _ = await asyncio.wait([first, other], return_when=asyncio.FIRST_COMPLETED, timeout=0.8)
        refused = done.pop().exception()
        assert isinstance(refused, Refused)
        self.assertEqual(refused.why.kind, wire.DEADLOCK)

    async def test_local_deadlock(self) -> None:
        p = self.process("p")
        await p.lock("t", b"1", [b"a"])
        await p.lock("u", b"2", [b"a"])
        p.lock("t", b"2", [b"a"])
        await asyncio.sleep(0.2)
        with self.assertRaises(Refused) as refused:
            await p.lock("u", b"1", [b"a"])
        self.assertEqual(refused.exception.why.kind, wire.DEADLOCK)

    async def test_deadline_and_goodbye(self) -> None:
        p, q = self.process("p"), self.process("q")
        await p.lock("t", b"s", [b"a"])
        with self.assertRaises(Refused) as refused:
            await q.lock("t", b"s", [b"a"], timeout_ms=200)
        self.assertEqual(refused.exception.why.kind, wire.DEADLINE)
        p.unlock("t", b"s")
        await p.stop()
        await q.stop()
        await asyncio.sleep(0.1)
        self.assertEqual(self.store.leases(), 0)

    async def test_superseded(self) -> None:
        p = self.process("p")
        await p.lock("t", b"s", [b"a"])
        newer = self.process("p", 2)
        await newer.lock("t", b"s", [b"a"])
        await asyncio.sleep(0.1)
        with self.assertRaises(GrantLost):
            p.read("t", b"s", b"a")
        self.assertTrue(p.superseded)

    async def test_nothing_is_lost(self) -> None:
        """Threads of several processes count in many sessions while connections break; each count that was durable is there."""
        chance = random.Random(1)
        processes = [self.process(f"p{n}") for n in range(4)]
        sessions = [b"s%d" % n for n in range(3)]
        counted = dict.fromkeys(sessions, 0)
        unsure = dict.fromkeys(sessions, 0)

        async def count(process: Process, thread: str) -> None:
            for _ in range(40):
                session = chance.choice(sessions)
                try:
                    await process.lock(thread, session, [b"n"], chance.random() < 0.2, 6000)
                    await asyncio.sleep(chance.random() * 0.01)
                    before = process.read(thread, session, b"n") or b"0"
                    process.write(thread, session, b"n", b"%d" % (int(before) + 1))
                    if chance.random() < 0.7:
                        unsure[session] += 1
                        await process.commit(thread, session)
                        counted[session] += 1
                        unsure[session] -= 1
                        process.unlock(thread, session)
                    else:
                        process.unlock(thread, session, discard=True)
                except Refused as refused:
                    self.assertIn(refused.why.kind, (wire.WOULD_BLOCK,), refused)
                except GrantLost:
                    try:
                        process.unlock(thread, session)
                    except (GrantLost, Refused):
                        pass

        async def breaks() -> None:
            while True:
                await asyncio.sleep(0.05)
                if self.connections:
                    chance.choice(list(self.connections)).writer.transport.abort()

        breaker = asyncio.create_task(breaks())
        await asyncio.wait_for(asyncio.gather(*(count(p, f"t{n}") for p in processes for n in range(3))), 60)
        breaker.cancel()
        for session in sessions:
            await processes[0].lock("end", session, [b"n"], timeout_ms=6000)
            value = int(processes[0].read("end", session, b"n") or b"0")
            processes[0].unlock("end", session)
            self.assertGreaterEqual(value, counted[session])
            self.assertLessEqual(value, counted[session] + unsure[session])
        self.assertGreater(sum(counted.values()), 100)


if __name__ == "__main__":
    unittest.main()
