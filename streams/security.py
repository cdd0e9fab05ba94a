"""Who Kafka and Redis are, and who we are to them: TLS, users and passwords by the settings, for every client alike.

The rule: librdkafka (commands, rejects), aiokafka (through Faust) and redis-py get the same from one place, and no text
made here holds a password. A certificate that is not trusted, or of another host, ends what is begun.
"""

import contextlib
import socket
import ssl
from typing import Any

from streams.settings import Settings, SettingsError, parted

PATIENCE = 3.0  # seconds


def librdkafka(settings: Settings) -> dict[str, str | int | float | bool]:
    """Its configuration. Raises SettingsError for files that hold no certificate or key."""
    trust(settings)
    sasl = settings.kafka_sasl != "none"
    protocol = ("sasl_" if sasl else "") + ("ssl" if settings.kafka_tls else "plaintext")
    config: dict[str, str | int | float | bool] = {"security.protocol": protocol}
    files = {"ca": settings.kafka_ca, "certificate": settings.kafka_certificate, "key": settings.kafka_key}
    config |= {f"ssl.{name}.location": path for name, path in files.items() if path}
    if sasl:
        config |= {
            "sasl.mechanism": settings.kafka_sasl,
            "sasl.username": settings.kafka_user,
            "sasl.password": settings.kafka_password,
        }
    return config


def faust(settings: Settings) -> Any:
    """The same as Faust's `broker_credentials`; None for none."""
    from faust import auth

    context = trust(settings)
    if settings.kafka_sasl != "none":
        return auth.SASLCredentials(
            mechanism=settings.kafka_sasl,
            username=settings.kafka_user,
            password=settings.kafka_password,
            ssl_context=context,  # without one Faust speaks plain text, and the settings have allowed it
        )
    return auth.SSLCredentials(context) if context else None


def redis(settings: Settings) -> dict[str, str]:
    """What redis-py is told beside the URL."""
    if not settings.redis_ca:
        return {}
    _context("REDIS_CA", settings.redis_ca)
    return {"ssl_ca_certs": settings.redis_ca}


def trust(settings: Settings) -> ssl.SSLContext | None:
    """Whom we trust to be Kafka, and our own certificate; None without TLS. Raises SettingsError."""
    if not settings.kafka_tls:
        return None
    context = _context("KAFKA_CA", settings.kafka_ca)
    if settings.kafka_certificate:
        try:
            context.load_cert_chain(settings.kafka_certificate, settings.kafka_key, lambda: "")
        except OSError as error:  # of ssl too
            files = f"CRM_KAFKA_CERTIFICATE={settings.kafka_certificate}, CRM_KAFKA_KEY={settings.kafka_key}"
            raise SettingsError(f"{files}: no certificate with its key (PEM): {_reason(error)}") from None
    return context


def _context(name: str, authorities: str) -> ssl.SSLContext:
    """TLS of a client that trusts these authorities. `name`: of the setting."""
    try:
        return ssl.create_default_context(cafile=authorities or None)
    except OSError as error:
        raise SettingsError(f"CRM_{name}={authorities}: no certificate (PEM): {_reason(error)}") from None


def refused(settings: Settings) -> str | None:
    """Why Kafka, which does not answer, turns us away for good, or we it; None where it may be away."""
    for address in settings.kafka.split(","):
        if why := _shaken(settings, *parted(address)):
            return why
    return _named(settings) if settings.kafka_sasl != "none" else None


def _shaken(settings: Settings, host: str, port: int) -> str | None:
    """What is wrong with the handshake with one broker, if anything is."""
    context, spoken = trust(settings) or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), settings.kafka_tls
    if not spoken:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError), socket.create_connection((host, port), PATIENCE) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=host):
                return None if spoken else "it speaks TLS: set CRM_KAFKA_TLS=1 (and CRM_KAFKA_CA)"
        except ssl.SSLCertVerificationError as error:
            return f"its certificate is not trusted ({error.verify_message}): is CRM_KAFKA_CA its authority?"
    return None  # it hangs up: that may pass


def _named(settings: Settings) -> str | None:
    """Why user and password are refused."""
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import AdminClient

    heard: list[KafkaError] = []
    config: dict[str, Any] = {"bootstrap.servers": settings.kafka, "log_level": 0, "error_cb": heard.append}
    client = AdminClient(config | librdkafka(settings))
    with contextlib.suppress(KafkaException):
        client.list_topics(timeout=PATIENCE)
    client.poll(0)
    said = next((error.str() for error in heard if error.code() == KafkaError._AUTHENTICATION), None)
    if said is None:
        return None
    what = said.split(": ", 1)[-1].split(" (after")[0]
    return f"{what}: CRM_KAFKA_SASL, CRM_KAFKA_USER, CRM_KAFKA_PASSWORD"


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)
