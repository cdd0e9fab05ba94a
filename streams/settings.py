"""Every setting of the streams: environment variables with the prefix CRM_, read once at start.

A secret may stand in a file instead: CRM_REDIS_URL_FILE names a file that holds the value of CRM_REDIS_URL.
"""

import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis.asyncio.connection import URL_QUERY_ARGUMENT_PARSERS, SSLConnection

from streams.refusal import Refusal

PREFIX = "CRM_"
SECRETS = ("redis_url", "kafka_password")  # hold passwords: their values are never printed
PATHS = ("kafka_ca", "kafka_certificate", "kafka_key", "redis_ca", "api_tokens")  # what they name holds secrets, or may
OF_TLS = [name for name in inspect.signature(SSLConnection).parameters if name.startswith("ssl_")]
SIGNS = "%23 for #, %2F for /, %3A for :, %3F for ?, %40 for @, %5B for ["
HOST = re.compile(r"(\[[^\[\]]+\]|[^\[\]:]*)(:[0-9]*)?")
LISTENS = re.compile(r"(([^\s,/:\[\]]+|\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]):)?[0-9]{1,5}")
NUMBER = re.compile("[0-9]{1,9}")  # of a database; redis-py takes what it cannot read for 0
CLOCK, EVENT = f"{PREFIX}CLOCK", "event"  # a setting of before, and its one value that says what holds now


class SettingsError(Refusal):
    """A bad or missing setting, in one line."""


class Settings(BaseSettings):
    """What a deployment decides; docs/settings.md explains each."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    kafka: str = Field(default="127.0.0.1:9092", description="Kafka's bootstrap servers, host:port, comma separated")
    kafka_tls: bool = Field(default=False, description="speak TLS to Kafka, and trust who shows a certificate only")
    kafka_ca: str = Field(
        default="", description="PEM file of the authorities trusted for Kafka; empty: those of the system"
    )
    kafka_certificate: str = Field(default="", description="PEM file of our own certificate, where Kafka asks for one")
    kafka_key: str = Field(default="", description="PEM file of its key, without a password")
    kafka_sasl: Literal["none", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="none", description="how user and password are shown to Kafka"
    )
    kafka_user: str = Field(default="", description="user towards Kafka")
    kafka_password: str = Field(default="", repr=False, description="password towards Kafka")
    kafka_insecure: bool = Field(
        default=False, description="show the password to Kafka without TLS, readable on the way"
    )
    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0", repr=False, description="Redis or Valkey, redis:// or rediss://"
    )
    redis_ca: str = Field(
        default="", description="PEM file of the authorities trusted for rediss://; empty: those of the system"
    )
    redis_sentinels: str = Field(
        default="",
        pattern=r"^([^\s,/]+:\d+(,[^\s,/]+:\d+)*)?$",
        description="Redis Sentinels that name the primary, host:port, comma separated; empty: CRM_REDIS_URL names it",
    )
    redis_service: str = Field(
        default="",
        description="what the Sentinels call the primary; all else is as CRM_REDIS_URL says",
    )
    events_topic: str = Field(
        default="crm.events",
        pattern=r"^[A-Za-z0-9._-]{1,240}$",
        description="the topic of events; rejects go to this name with .rejected behind it",
    )
    partitions: int = Field(
        default=4, ge=1, le=10_000, description="partitions of the events topic when `init` creates it"
    )
    replication: int = Field(default=1, ge=1, le=100, description="replicas of each topic when `init` creates it")
    prefix: str = Field(default="crm", pattern=r"^[A-Za-z0-9_.-]+$", description="what every Redis key begins with")
    group: str = Field(
        default_factory=lambda of: f"{of.get('prefix')}-scorer",
        min_length=1,
        description="Kafka's consumer group of the workers; unset: CRM_PREFIX with -scorer behind it",
    )
    partitioner: Literal["murmur2", "crc32"] = Field(
        default="murmur2",
        description="how producers choose a partition: murmur2 (Java, aiokafka) or crc32 (librdkafka)",
    )
    grace: int | None = Field(
        default=None,
        ge=0,
        le=3_456_000,
        description="seconds that a day stays open for late events; unset: those of the deployment, at first 3,600",
    )
    training_days: int = Field(default=35, ge=1, le=10_000, description="days that closed training examples are kept")
    rejected_days: int = Field(
        default=90, ge=1, le=10_000, description="days that rejected records are kept, when `init` creates their topic"
    )
    models_kept: int = Field(default=40, ge=2, le=100_000, description="model versions kept in Redis")
    changes_kept: int = Field(
        default=100_000,
        ge=0,
        le=1_000_000_000_000,  # beyond 2**63 Redis would refuse it in the midst of a write
        description="segment changes kept in each partition's stream, about",
    )
    block: int = Field(
        default=200, ge=1, le=500, description="customers in a write at most: Redis answers nobody else meanwhile"
    )
    chunk: int = Field(default=20_000, ge=1, le=100_000, description="events folded at once, at most")

    status: str = Field(
        default="", description="file in which a worker says each second what it holds, for `health`; empty: none"
    )
    log: Literal["console", "json"] = Field(
        default="console",
        description="how workers and the API write their lines: for a person, or each as a JSON object",
    )
    metrics: str = Field(
        default="",
        description="[host:]port of a worker's metrics and health; no host: 127.0.0.1; port 0: any free; empty: none",
    )

    api_tokens: str = Field(
        default="", description="file of the tokens that `api` takes; empty: none, and it serves this machine alone"
    )
    api_rate: float = Field(
        default=2_000, ge=0, le=1_000_000, description="requests a second of a token that `api` lets through; 0: all"
    )

    @field_validator("kafka")
    @classmethod
    def _addresses(cls, value: str) -> str:
        if not re.fullmatch(r"[^\s,/]+:\d+(,[^\s,/]+:\d+)*", value):
            raise ValueError("say host:port, or several of them with commas between")
        return value

    @field_validator("metrics")
    @classmethod
    def _listens(cls, value: str) -> str:
        if value and not (LISTENS.fullmatch(value) and parted(value)[1] < 1 << 16):
            raise ValueError("say host:port, [IPv6]:port, or a port alone, of this machine")
        return value

    @field_validator(*PATHS)
    @classmethod
    def _path(cls, value: str) -> str:
        if "\n" in value or "-----BEGIN" in value:
            raise ValueError("say the path of a file, not what it holds")
        return value

    @field_validator("redis_url")
    @classmethod
    def _url(cls, value: str) -> str:
        value = value.strip()
        for reason in _of_url(value):
            raise ValueError(reason)
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        """Refuses what makes no sense together; the reason begins with the setting to look at."""
        for reason in (*self._of_users(), *self._of_certificates()):
            raise ValueError(reason)
        return self

    def _of_users(self) -> Iterator[str]:
        shown = f"CRM_KAFKA_SASL={self.kafka_sasl}"
        if self.kafka_sasl == "none":
            if self.kafka_user or self.kafka_password:
                yield "CRM_KAFKA_USER, CRM_KAFKA_PASSWORD: not shown to Kafka: set CRM_KAFKA_SASL"
        elif not (self.kafka_user and self.kafka_password):
            yield f"{shown}: CRM_KAFKA_USER and CRM_KAFKA_PASSWORD are needed"
        elif not self.kafka_tls and not self.kafka_insecure:
            yield f"{shown}: set CRM_KAFKA_TLS=1, or the password travels readable; CRM_KAFKA_INSECURE=1 allows it"

    def _of_certificates(self) -> Iterator[str]:
        of_tls = {"CA": self.kafka_ca, "CERTIFICATE": self.kafka_certificate, "KEY": self.kafka_key}
        for name, path in of_tls.items():
            if path and not self.kafka_tls:
                yield f"CRM_KAFKA_{name}={path}: says nothing without CRM_KAFKA_TLS=1"
        if bool(self.kafka_certificate) != bool(self.kafka_key):
            yield "CRM_KAFKA_CERTIFICATE, CRM_KAFKA_KEY: set both or none"
        if self.redis_ca and not self.redis_url.startswith("rediss://"):
            yield f"CRM_REDIS_CA={self.redis_ca}: says nothing unless CRM_REDIS_URL begins with rediss://"
        if bool(self.redis_sentinels) != bool(self.redis_service):
            yield "CRM_REDIS_SENTINELS, CRM_REDIS_SERVICE: set both or none"

    @property
    def rejected_topic(self) -> str:
        return f"{self.events_topic}.rejected"


def _of_url(url: str) -> Iterator[str]:
    """What is wrong with Redis's URL, the first thing first; of its text an option's name alone is quoted.

    redis-py passes over what it does not understand, and is then somewhere else than it was told.
    """
    if re.search(r"[#\t\r\n]|://.*[/?].*@", url):
        yield f"no # belongs there, and no @ behind the host: in a user, password or path write {SIGNS}"
    form = f"say redis://host:6379/0, rediss:// or unix:///path; IPv6 is [::1]; in a password write {SIGNS}"
    try:
        parts = urlsplit(url)
        known = url[len(parts.scheme) :].startswith("://") and parts.scheme in ("redis", "rediss", "unix")
        port = parts.port
    except ValueError:  # its text may quote a password
        known = False
    if not known:
        yield form
        return
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme == "unix" and (host or not parts.path):
        yield "say unix:///path of the socket, with three /, and the number of a database as ?db=0"
    if parts.scheme != "unix" and (port == 0 or not HOST.fullmatch(host)):
        yield form
    yield from _of_options(parts)


def _of_options(parts: SplitResult) -> Iterator[str]:
    """The same of its database and of what stands behind a ?; all else is for the program to decide."""
    given = parse_qsl(parts.query, keep_blank_values=True)
    if parts.scheme != "unix" and parts.path not in ("", "/"):
        given.append(("db", parts.path[1:]))
    names = [name for name, _ in given]
    for name, value in given:
        if name != "db" and name not in OF_TLS:
            yield f"{name!r} is no option here: db is, and redis-py's of TLS ({', '.join(OF_TLS)})"
        if name != "db" and parts.scheme != "rediss":
            yield f"{name} says nothing unless it begins with rediss://"
        if name == "db" and not NUMBER.fullmatch(value):
            yield "behind the host stands the number of a database, as /0 or ?db=0, or nothing"
        if not value or names.count(name) > 1:
            yield f"{name}: say it once, with a value"
        try:
            URL_QUERY_ARGUMENT_PARSERS.get(name, str)(value)
        except ValueError:
            yield f"{name}: its value is none that redis-py reads"


def parted(address: str) -> tuple[str, int]:
    """Host and port of an address; a host without the brackets that IPv6 has beside a port, for sockets want none.

    >>> parted("[::1]:9464"), parted("::1:9464"), parted("host:1"), parted("9464")
    (('::1', 9464), ('::1', 9464), ('host', 1), ('', 9464))
    """
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def notes() -> list[str]:
    """What a worker says once of settings that are no more."""
    return [f"{CLOCK}={EVENT} is how every deployment works now: remove it"] if CLOCK in os.environ else []


def load() -> Settings:
    """The settings of this process's environment; SettingsError says what is wrong in one line."""
    if (clock := os.environ.get(CLOCK, EVENT)) != EVENT:
        reason = "by a machine's clock, what is late would be learned as silence"
        raise SettingsError(f"{CLOCK}={clock}: midnights pass by the events alone ({reason}): remove the setting")
    secrets: dict[str, Any] = {}
    for name in Settings.model_fields:
        path = os.environ.get(f"{PREFIX}{name.upper()}_FILE")
        if path:
            try:
                secrets[name] = path if name in PATHS else Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise SettingsError(f"{PREFIX}{name.upper()}_FILE: {error.strerror}: {path}") from None
            except UnicodeDecodeError:
                raise SettingsError(f"{PREFIX}{name.upper()}_FILE: not UTF-8 text: {path}") from None
    try:
        return Settings(**secrets)
    except ValidationError as error:
        wrong = error.errors()[0]
        reason = wrong["msg"].removeprefix("Value error, ")
        if not wrong["loc"]:  # of several together: it begins with a name
            raise SettingsError(reason) from None
        name = str(wrong["loc"][0])
        raise SettingsError(f"{PREFIX}{name.upper()}{_shown(name, wrong['input'])}: {reason}") from None


def _shown(name: str, value: Any) -> str:
    """The value as an error may show it: nothing of a secret, nor what stands before an @ where no user belongs.

    >>> _shown("block", "x"), _shown("redis_url", "redis://:pw@h"), _shown("kafka", "user:pw@h:9092")
    ("='x'", '', "='...@h:9092'")
    """
    if name in (*SECRETS, *PATHS):
        return ""
    shown = re.sub("[^,]*@", "...@", value) if isinstance(value, str) else value
    return f"={shown!r}"
