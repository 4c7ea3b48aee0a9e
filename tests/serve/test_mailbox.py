"""Pieces on their way from one thread to another."""

import asyncio

from fabula.serve.mailbox import Mailbox, hand_over
from fabula.serve.rows import Piece


def test_pieces_come_in_order_and_wake_who_waits() -> None:
    async def work() -> None:
        mailbox = Mailbox(2)
        assert await mailbox.take(0.01) == []
        waiting = asyncio.create_task(mailbox.take(30))
        await asyncio.sleep(0)
        for number in range(2):
            mailbox.count()
            await asyncio.to_thread(mailbox.loop.call_soon_threadsafe, hand_over, [(mailbox, Piece(number))])
        pieces = await waiting
        pieces += await mailbox.take(30) if len(pieces) < 2 else []
        assert [piece.choice for piece in pieces] == [0, 1]

    asyncio.run(work())


def test_it_is_full_until_it_is_emptied() -> None:
    async def work() -> None:
        mailbox = Mailbox(2)
        for number in range(2):
            assert not mailbox.full
            mailbox.count()
            mailbox.put(Piece(number))
        assert mailbox.full
        assert len(await mailbox.take(1)) == 2
        assert not mailbox.full

    asyncio.run(work())


def test_who_wants_the_whole_is_woken_at_its_end() -> None:
    async def work() -> None:
        mailbox = Mailbox(whole=True)
        for last in (Piece(0, "b", finish="stop"), Piece(0, "b", judged=True)):
            waiting = asyncio.create_task(mailbox.take(30))
            await asyncio.sleep(0)
            mailbox.put(Piece(0, "a"))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            mailbox.put(last)
            assert [piece.text for piece in await waiting] == ["a", "b"]

    asyncio.run(work())


def test_closing_wakes_who_waits() -> None:
    async def work() -> None:
        mailbox = Mailbox(2)
        waiting = asyncio.create_task(mailbox.take(30))
        await asyncio.sleep(0)
        mailbox.close()
        assert await waiting == []
        assert mailbox.closed

    asyncio.run(work())
