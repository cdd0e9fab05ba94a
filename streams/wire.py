"""Many commands to Redis over one connection, whose answers are read together.

redis-py awaits each answer of a pipeline by itself, under a time limit of its own, which costs several times what it
takes to read one. The rule: the connection is redis-py's, with all that CRM_REDIS_URL and Sentinels say; here bytes are
sent over it, and answers read. tests/test_stream_wire.py tells of an upgrade that moves what that takes.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from redis import exceptions
from redis._parsers.hiredis import NOT_ENOUGH_DATA, _AsyncHiredisParser


class Parser(_AsyncHiredisParser):
    """What redis-py reads answers with, and what reads many of them at once."""

    _reader: Any
    read_from_socket: Callable[[], Coroutine[Any, Any, bool]]

    async def read(self, count: int) -> list[Any]:
        """So many answers; an error that Redis answered with stands in its place."""
        found: list[Any] = []
        while len(found) < count:
            answer = self._reader.gets()
            if answer is NOT_ENOUGH_DATA:
                await self.read_from_socket()
            else:
                found.append(answer)
        return found


async def exchange(client: Any, commands: bytes, count: int) -> list[Any]:
    """The answers to so many commands, laid out as RESP. client: of store.connect.

    An error that Redis answered with stands in its place. Raises RedisError where it does not answer them all in time.
    """
    pool = client.connection_pool
    connection = await pool.get_connection()
    try:
        async with asyncio.timeout(connection.socket_timeout):
            await connection.send_packed_command(commands, check_health=False)
            found: list[Any] = await connection._parser.read(count)
        return found
    except BaseException as error:
        await connection.disconnect(nowait=True)  # or who has it next would read what is still to come
        if isinstance(error, TimeoutError):
            raise exceptions.TimeoutError("Redis did not answer in time") from None
        raise
    finally:
        await pool.release(connection)
