"""The client of http1 over real sockets: connections that stay, break, lie, or are given up."""

import asyncio
from contextlib import asynccontextmanager

import pytest
import uvloop

from http1 import Client, Unreachable

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def far_end(*answers):
    """A server that gives these answers in turn, the last one for ever; None closes, after a number of
    seconds comes "no".

    Yields its address, what was asked, and the connections that were made."""
    asked, made, turn = [], [], iter([*answers])
    last = answers[-1]

    async def serve(reader, writer):
        made.append(writer)
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                asked.append(head + await reader.readexactly(length))
            except (asyncio.IncompleteReadError, ConnectionError):
                return writer.close()
            answer = next(turn, last)
            if answer is None:
                return writer.close()
            if isinstance(answer, float):
                await asyncio.sleep(answer)
                writer.write(OK.replace(b"ok", b"no"))
            else:
                for piece in answer if isinstance(answer, tuple) else (answer,):
                    writer.write(piece)
                    await asyncio.sleep(0.01)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname(), asked, made
    finally:
        server.close()


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request):
    return request.param


def test_one_connection_carries_posts_in_turn(run):
    async def scenario():
        async with far_end(OK) as (address, asked, made):
            client = Client()
            for body in (b"first", b"second"):
                assert await client.post(address, "/there", {"x-mark": "1"}, body) == (200, b"ok")
            client.close()
            return asked, len(made)

    asked, made = run(scenario())
    assert made == 1
    assert asked[1].startswith(b"POST /there HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"\r\nx-mark: 1\r\ncontent-length: 6\r\n\r\nsecond" in asked[1]


def test_posts_at_one_time_have_a_connection_each(run):
    async def scenario():
        async with far_end((b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"o", b"k")) as (address, _, made):
            client = Client()
            answers = await asyncio.gather(*(client.post(address, "/", {}, b"") for _ in range(5)))
            client.close()
            return answers, len(made)

    assert run(scenario()) == ([(200, b"ok")] * 5, 5)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (None, OSError),
        (b"no HTTP at all\r\n\r\n", ValueError),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nonly", None), OSError),
    ],
)
def test_what_is_no_answer_is_an_error_and_its_connection_is_not_used_again(run, answer, error):
    first = answer if not isinstance(answer, tuple) else answer[0]

    async def scenario():
        async with far_end(first, OK) as (address, _, made):
            client = Client()
            failing = asyncio.ensure_future(client.post(address, "/", {}, b""))
            if isinstance(answer, tuple):  # it breaks off: the far end goes away in the middle of the body
                await asyncio.sleep(0.1)
                made[0].transport.abort()
            with pytest.raises(error):
                await failing
            assert await client.post(address, "/", {}, b"") == (200, b"ok")
            client.close()
            return len(made)

    assert run(scenario()) == 2


def test_who_gives_up_leaves_no_answer_behind_for_the_next(run):
    async def scenario():
        async with far_end(0.2, OK) as (address, *_):
            client = Client()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.post(address, "/", {}, b"slow")
            assert await client.post(address, "/", {}, b"next") == (200, b"ok")
            client.close()

    run(scenario())


def test_a_connection_that_was_closed_while_nobody_used_it_is_replaced(run):
    async def scenario():
        async with far_end(OK) as (address, _, made):
            client = Client()
            await client.post(address, "/", {}, b"")
            made[0].close()
            await asyncio.sleep(0.05)
            assert await client.post(address, "/", {}, b"") == (200, b"ok")
            client.close()
            return len(made)

    assert run(scenario()) == 2


@pytest.mark.parametrize("said", [OK.replace(b" OK", b" OK\r\nConnection: close"), (OK, OK), OK + OK])
def test_a_connection_that_ends_or_says_more_than_asked_is_not_used_again(run, said):
    async def scenario():
        async with far_end(said, OK) as (address, _, made):
            client = Client()
            for _ in range(2):
                assert await client.post(address, "/", {}, b"") == (200, b"ok")
                await asyncio.sleep(0.05)
            client.close()
            return len(made)

    assert run(scenario()) == 2


def test_nobody_there_is_told_apart(run):
    async def scenario():
        with pytest.raises(Unreachable):
            await Client().post(("127.0.0.1", 9), "/", {}, b"")

    run(scenario())
