"""Every setting of the streams: environment variables with the prefix CRM_, read once at start.

A secret may stand in a file instead: CRM_REDIS_URL_FILE names a file that holds the value of CRM_REDIS_URL.
"""

import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis.asyncio.connection import parse_url

from streams.refusal import Refusal

PREFIX = "CRM_"
SECRET = "redis_url"  # may hold a password: its value is never printed
CLOCK, EVENT = f"{PREFIX}CLOCK", "event"  # a setting of before, and its one value that says what holds now


class SettingsError(Refusal):
    """A bad or missing setting, in one line."""


class Settings(BaseSettings):
    """What a deployment decides; docs/settings.md explains each."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    kafka: str = Field(default="127.0.0.1:9092", description="Kafka's bootstrap servers, host:port, comma separated")
    redis_url: str = Field(default="redis://127.0.0.1:6379/0", description="Redis or Valkey, redis:// or rediss://")
    events_topic: str = Field(
        default="crm.events",
        pattern=r"^[A-Za-z0-9._-]{1,240}$",
        description="the topic of events; rejects go to this name with .rejected behind it",
    )
    partitions: int = Field(
        default=4, ge=1, le=10_000, description="partitions of the events topic when `init` creates it"
    )
    replication: int = Field(default=1, ge=1, le=100, description="replicas of each topic when `init` creates it")
    group: str = Field(default="crm-scorer", min_length=1, description="Kafka's consumer group of the workers")
    prefix: str = Field(default="crm", pattern=r"^[A-Za-z0-9_.-]+$", description="what every Redis key begins with")
    partitioner: Literal["murmur2", "crc32"] = Field(
        default="murmur2",
        description="how producers choose a partition: murmur2 (Java, aiokafka) or crc32 (librdkafka)",
    )
    grace: int = Field(default=3600, ge=0, le=86_400, description="seconds that a day stays open for late events")
    training_days: int = Field(default=35, ge=1, le=10_000, description="days that closed training examples are kept")
    rejected_days: int = Field(
        default=90, ge=1, le=10_000, description="days that rejected records are kept, when `init` creates their topic"
    )
    models_kept: int = Field(default=40, ge=2, le=100_000, description="model versions kept in Redis")
    changes_kept: int = Field(
        default=100_000, ge=0, description="segment changes kept in each partition's stream, about"
    )
    block: int = Field(
        default=500, ge=1, le=500, description="customers in a write at most: Redis answers nobody else meanwhile"
    )
    chunk: int = Field(default=20_000, ge=1, le=100_000, description="events folded at once, at most")

    @field_validator("kafka")
    @classmethod
    def _addresses(cls, value: str) -> str:
        if not re.fullmatch(r"[^\s,/]+:\d+(,[^\s,/]+:\d+)*", value):
            raise ValueError("say host:port, or several of them with commas between")
        return value

    @field_validator("redis_url")
    @classmethod
    def _url(cls, value: str) -> str:
        try:
            parse_url(value)
        except ValueError:  # its text may quote a password
            reason = "say redis://host:6379/0, rediss:// or unix://; in a password write %2F for / and %40 for @"
            raise ValueError(reason) from None
        return value

    @property
    def rejected_topic(self) -> str:
        return f"{self.events_topic}.rejected"


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
                secrets[name] = Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise SettingsError(f"{PREFIX}{name.upper()}_FILE: {error.strerror}: {path}") from None
            except UnicodeDecodeError:
                raise SettingsError(f"{PREFIX}{name.upper()}_FILE: not UTF-8 text: {path}") from None
    try:
        return Settings(**secrets)
    except ValidationError as error:
        wrong = error.errors()[0]
        name, reason = str(wrong["loc"][0]), wrong["msg"].removeprefix("Value error, ")
        value = "" if name == SECRET else f"={wrong['input']!r}"
        raise SettingsError(f"{PREFIX}{name.upper()}{value}: {reason}") from None
