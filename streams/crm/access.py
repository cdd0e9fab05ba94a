"""Who may ask the API for what, and how often: bearer tokens from a file, scopes, and a bucket each.

The rule: a token stands nowhere but with its owner. The file holds its SHA-256, which is what a request's token is
looked up by, so no comparison takes longer the more of it is right.
"""

import hashlib
import ipaddress
import math
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from fastapi import Request

from streams.crm.problems import NO_TOKEN, NOT_ALLOWED, TOO_MANY, WRONG_HOST, Problem
from streams.refusal import Refusal

READ, LISTS, ADMIN = SCOPES = ("read", "lists", "admin")
GUESSES = 10.0  # requests a second of an address whose tokens are wrong
ADDRESSES = 4_096  # that are remembered
LOCAL = ("127.0.0.1", "localhost", "::1", "")


class AccessError(Refusal):
    """Tokens or the address to listen at are not as they must be."""


class Caller(NamedTuple):
    """Whose token it is, and what it allows."""

    name: str
    scopes: frozenset[str]


ANYBODY = Caller("", frozenset({READ, LISTS}))  # on this machine, where there are no tokens
Tokens = dict[bytes, Caller]  # by SHA-256


def read(path: Path) -> Tokens:
    """The tokens of a file: a line each, `NAME SCOPE,SCOPE SHA-256`; empty lines and those with # are passed over.

    Raises AccessError, which names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AccessError(f"CRM_API_TOKENS={path}: cannot be read: {getattr(error, 'strerror', 'not UTF-8')}") from None
    found: Tokens = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            try:
                name, scopes, digest = line.split()
                caller, held = Caller(name, _scopes(scopes)), bytes.fromhex(digest)
            except ValueError:
                caller, held = ANYBODY, b""
            if len(held) != hashlib.sha256().digest_size:
                said = f"NAME SCOPE,SCOPE SHA-256, with scopes of {', '.join(SCOPES)}"
                raise AccessError(f"CRM_API_TOKENS={path}, line {number}: say {said}")
            found[held] = caller
    return found


def _scopes(text: str) -> frozenset[str]:
    """Of `read,lists`. Raises ValueError for one that there is not."""
    found = frozenset(text.split(","))
    if not found <= {*SCOPES}:
        raise ValueError(text)
    return found


def new(path: Path, name: str, scopes: str) -> str:
    """A token of this name, whose line stands in the file from here on. Raises AccessError."""
    held = read(path) if path.exists() else {}
    if not name or not name.isprintable() or any(each.isspace() or each == "#" for each in name):
        raise AccessError(f"a name of a token is one word without #, not {name!r}")
    if name in {caller.name for caller in held.values()}:
        raise AccessError(f"CRM_API_TOKENS={path} has a token of the name {name}: take another, or remove its line")
    try:
        granted = ",".join(sorted(_scopes(scopes), key=SCOPES.index))
    except ValueError:
        raise AccessError(f"scopes are of {', '.join(SCOPES)}, with commas between, not {scopes!r}") from None
    token = secrets.token_urlsafe(32)
    ended = not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")  # else two lines would be one, and no token
    try:
        with open(path, "a", encoding="utf-8", opener=_private) as file:
            file.write(("" if ended else "\n") + f"{name} {granted} {_digest(token).hex()}\n")
    except OSError as error:
        raise AccessError(f"CRM_API_TOKENS={path}: cannot be written: {error.strerror}") from None
    return token


def _private(path: str, flags: int) -> int:
    """Opens a file whose mode, where it creates it, is its owner's alone; one that was there keeps its own, for others
    may have to read it."""
    return os.open(path, flags, 0o600)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("latin-1", "replace")).digest()


def check_host(host: str, tokens: Tokens | None) -> None:
    """Raises AccessError for an address that others reach, where no token is asked for."""
    if tokens is None and not loopback(host):
        raise AccessError(f"--host {host} is reached from other machines: give --tokens FILE (or CRM_API_TOKENS)")


def loopback(host: str) -> bool:
    """
    >>> loopback("127.0.0.1"), loopback("::1"), loopback("localhost"), loopback("0.0.0.0"), loopback("crm.example")
    (True, True, True, False, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Bucket:
    """Lets `rate` requests a second through, and as many at once as a second has."""

    __slots__ = ("at", "left", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate, self.left, self.at = rate, max(1.0, rate), now

    def wait(self, now: float) -> float:
        """Takes one; seconds until there is one again, 0 where there was.

        >>> bucket = Bucket(2.0, 0.0)
        >>> [bucket.wait(now) for now in (0.0, 0.0, 0.0, 0.5, 0.5)]
        [0.0, 0.0, 0.5, 0.0, 0.5]
        """
        self.left = min(max(1.0, self.rate), self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left >= 1:
            self.left -= 1
            return 0.0
        return (1 - self.left) / self.rate


class Access:
    """tokens: None: nobody is asked for one, and nobody may write; rate: requests a second of each, 0: no limit."""

    def __init__(self, tokens: Tokens | None, rate: float = 0.0) -> None:
        self.tokens, self.rate = tokens, rate
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()

    def admit(self, request: Request, scopes: Iterable[str]) -> None:
        """Raises Problem for who may not, or not so often."""
        caller = self._caller(request)
        if self.rate:
            self._spend("caller", caller.name or _address(request), self.rate)
        for scope in scopes:
            if scope not in caller.scopes:
                if self.tokens is None:
                    raise Problem(NOT_ALLOWED, f"this needs a token with the scope {scope}: start with --tokens FILE")
                how = {"WWW-Authenticate": f'Bearer realm="crm", error="insufficient_scope", scope="{scope}"'}
                raise Problem(NOT_ALLOWED, f"this needs a token with the scope {scope}", how)

    def _caller(self, request: Request) -> Caller:
        if self.tokens is None:
            _check_named(request.headers)
            return ANYBODY
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and (caller := self.tokens.get(_digest(token.strip()))):
            return caller
        if not token:
            said = "send the header Authorization: Bearer TOKEN"
            raise Problem(NO_TOKEN, said, {"WWW-Authenticate": 'Bearer realm="crm"'})
        self._spend("guess", _address(request), GUESSES)
        how = {"WWW-Authenticate": 'Bearer realm="crm", error="invalid_token"'}
        raise Problem(NO_TOKEN, "the token is not known", how)

    def _spend(self, kind: str, who: str, rate: float) -> None:
        now = time.monotonic()
        bucket = self._buckets.get((kind, who))
        if bucket is None:
            bucket = self._buckets[kind, who] = Bucket(rate, now)
            if len(self._buckets) > ADDRESSES:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end((kind, who))
        if wait := bucket.wait(now):
            raise Problem(TOO_MANY, f"{rate:g} a second are let through", {"Retry-After": str(math.ceil(wait))})


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _check_named(headers: Mapping[str, str]) -> None:
    """A page of somewhere else may have its name lead here: without tokens only names of this machine are served."""
    name = headers.get("host", "").lower()
    host = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    if host not in LOCAL:
        raise Problem(WRONG_HOST, "without tokens it answers to 127.0.0.1, localhost and ::1 alone")
