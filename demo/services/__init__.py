"""Kafka, Valkey and Redis for the demo, the tests and the benchmarks; `python -m demo.services` starts them for you."""

from demo.services.jars import ServiceError
from demo.services.servers import Kafka, Valkey, kafka, redis_server, valkey

__all__ = ["Kafka", "ServiceError", "Valkey", "kafka", "redis_server", "valkey"]
