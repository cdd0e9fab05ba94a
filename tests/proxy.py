"""A TCP proxy before Redis that misbehaves on demand: the faults of a network, at named points.

A fault holds for open connections and new ones until another is set. What a silent proxy holds back it forwards when it
passes again, as a network would: also the request of a client that has given up since.
"""

import contextlib
import enum
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"


class Fault(enum.Enum):
    PASS = "forwards everything"
    REFUSE = "closes every connection at once"
    SILENT = "accepts and holds, forwards nothing either way"
    CUT_REPLY = "forwards requests; instead of forwarding the first bytes of a reply it closes the connection"


class Proxy:
    """Listens on `port` of loopback and forwards to the port `target` of loopback. A context manager."""

    def __init__(self, target: int):
        self.target = target
        self.struck = 0  # connections refused or cut by a fault so far
        self.watch: Callable[[bytes], object] = len  # sees a request's bytes before they are forwarded
        self._fault, self._left, self._closing = Fault.PASS, -1, False
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._server = _server(self)
        self.port: int = self._server.server_address[1]
        self._accepting = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def strike(self, fault: Fault, times: int = -1) -> None:
        """Set the fault: for the next `times` connections that it refuses or cuts, then PASS; -1 until it is changed.

        REFUSE also closes the connections that stand open; these do not count.
        """
        with self._changed:
            self._fault, self._left = fault, times
            self._changed.notify_all()
        if fault is Fault.REFUSE:
            self.cut()

    def cut(self) -> None:
        """Close every open connection, whatever is under way in it."""
        with self._changed:
            for end in self._open:
                _close(end)

    def serve(self, client: socket.socket) -> None:
        """One connection, from its thread, until either end closes it."""
        with self._kept(client):
            if self._struck_by(Fault.REFUSE):
                return
            connect = socket.create_connection
            with contextlib.suppress(OSError), connect((LOOPBACK, self.target)) as server, self._kept(server):
                replies = threading.Thread(target=self._pump, args=(server, client, Fault.CUT_REPLY))
                replies.start()
                self._pump(client, server, None)
                replies.join()

    def _pump(self, source: socket.socket, sink: socket.socket, fault: Fault | None) -> None:
        with contextlib.suppress(OSError):
            while (data := source.recv(65_536)) and not self._struck_by(fault):
                if fault is None:
                    self.watch(data)
                sink.sendall(data)
        _close(source)
        _close(sink)

    def _struck_by(self, fault: Fault | None) -> bool:
        """Wait while silent; then whether `fault` is the present one, which counts as one strike of it.

        A closing proxy lets nothing through, so that what it held cannot reach the next test.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._fault is not Fault.SILENT)
            if self._closing:
                return True
            if self._fault is not fault:
                return False
            self.struck += 1
            self._left -= 1
            if self._left == 0:
                self._fault = Fault.PASS
            return True

    @contextlib.contextmanager
    def _kept(self, end: socket.socket) -> Iterator[None]:
        with self._changed:
            self._open.add(end)
            if self._closing:
                _close(end)
        try:
            yield
        finally:
            with self._changed:
                self._open.discard(end)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self.cut()
        self._server.server_close()  # waits for the connections' threads
        self._accepting.join()


def _server(proxy: Proxy) -> socketserver.ThreadingTCPServer:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            proxy.serve(self.request)

    return socketserver.ThreadingTCPServer((LOOPBACK, 0), Handler)


def _close(end: socket.socket) -> None:
    """End both directions, which wakes the threads that wait on it; the descriptor is closed by its owner."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
