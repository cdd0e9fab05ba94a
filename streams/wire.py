"""Many commands to Redis over one connection, whose answers are read together.

redis-py awaits each answer of a pipeline by itself, under a time limit of its own, which costs several times what it
takes to read one. The rule: the connection is redis-py's, with all that CRM_REDIS_URL and Sentinels say; here bytes are
sent over it, and answers read. tests/test_stream_wire.py tells of an upgrade that moves what that takes.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from hiredis import pack_command
from redis import exceptions
from redis._parsers.hiredis import NOT_ENOUGH_DATA, _AsyncHiredisParser


def pack(*commands: tuple[Any, ...]) -> bytes:
    """As RESP, one behind the other.

    >>> pack(("HLEN", "key"))
    b'*2\\r\\n$4\\r\\nHLEN\\r\\n$3\\r\\nkey\\r\\n'
    """
    return b"".join(map(pack_command, commands))


def begun(more: int, *command: Any) -> bytes:
    """The beginning of a command of at most nine words, behind which so many more follow, packed already.

    >>> begun(2, "HSET", "key")
    b'*4\\r\\n$4\\r\\nHSET\\r\\n$3\\r\\nkey\\r\\n'
    """
    opened: bytes = pack_command(command)[2:]  # behind how many words it has
    return b"*%d" % (len(command) + more) + opened


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
    """The answers to so many commands, as `pack` lays them out, over any connection. client: of store.connect.

    An error that Redis answered with stands in its place. Raises RedisError where it does not answer them all in time.
    """
    connection = await client.connection_pool.get_connection()
    try:
        return await _exchange(connection, commands, count)
    finally:
        await client.connection_pool.release(connection)


class Line:
    """A connection of its own, for what Redis keeps of a connection: the keys that are watched over it."""

    def __init__(self, client: Any) -> None:
        self._pool, self._connection = client.connection_pool, None

    async def holds(self) -> bool:
        """Whether it still stands since the last exchange."""
        if self._connection is not None:
            with contextlib.suppress(exceptions.ConnectionError, OSError):
                if not await self._connection.can_read():  # else what is to be read says that it is closed
                    return True
            await self.drop()
        return False

    async def begin(self, commands: bytes, count: int) -> list[Any]:
        """Likewise; connects where it does not stand."""
        if self._connection is None:
            self._connection = await self._pool.get_connection()
        return await self.exchange(commands, count)

    async def exchange(self, commands: bytes, count: int) -> list[Any]:
        """Likewise, over the connection of the exchange before; raises ConnectionError where it does not stand: over
        another one nothing is watched."""
        if self._connection is None or not self._connection.is_connected:
            raise exceptions.ConnectionError("the connection was lost")
        try:
            return await _exchange(self._connection, commands, count)
        except BaseException:
            await self.drop()
            raise

    async def drop(self) -> None:
        """Gives the connection up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)


async def _exchange(connection: Any, commands: bytes, count: int) -> list[Any]:
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
