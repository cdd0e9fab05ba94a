"""The names of everything in Redis, and nowhere else; docs/redis-contract.md says what a CRM may rely on."""


class Keys:
    """prefix: what every key begins with."""

    def __init__(self, prefix: str = "crm") -> None:
        self.prefix = prefix
        self.everything = f"{prefix}:*"
        self.meta, self.model = f"{prefix}:meta", f"{prefix}:model"
        self.versions, self.pinned = f"{prefix}:models", f"{prefix}:models:pinned"
        self.segments, self.clusters = f"{prefix}:segments", f"{prefix}:clusters"
        self.ledger, self.partitions = f"{prefix}:ledger", f"{prefix}:partitions"

    def customer(self, customer_id: str) -> str:
        return f"{self.prefix}:customer:{customer_id}"

    def guard(self, partition: int) -> str:
        return f"{self.prefix}:guard:{partition}"

    def state(self, partition: int) -> str:
        return f"{self.prefix}:state:{partition}"

    def freshness(self, partition: int) -> str:
        return f"{self.prefix}:freshness:{partition}"

    def changes(self, partition: int) -> str:
        return f"{self.prefix}:changes:{partition}"

    def rejected(self, partition: int) -> str:
        return f"{self.prefix}:rejected:{partition}"

    def erased(self, partition: int) -> str:
        return f"{self.prefix}:erased:{partition}"

    def set(self, name: str, partition: int) -> str:
        """Of a segment's customers, by what `members_of` calls it, or of schema 1: `segment:<cluster>`."""
        return f"{self.prefix}:{name}:{partition}"

    def training(self, partition: int, day: int) -> str:
        return f"{self.prefix}:training:{partition}:{day}"

    def version(self, version: str) -> str:
        return f"{self.prefix}:model:{version}"

    @staticmethod
    def members_of(segment: int) -> str:
        return f"members:{segment}"

    def of_kind(self, kind: str) -> str:
        """A pattern for SCAN.

        >>> Keys().of_kind("members")
        'crm:members:*'
        """
        return f"{self.prefix}:{kind}:*"
