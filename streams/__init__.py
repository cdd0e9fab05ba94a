"""The live half: Kafka events become scores in Redis, each exactly once."""
