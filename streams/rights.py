"""What a worker's user must be allowed to do in Redis, command by kind of key: asked before a partition is written.

The rule: whatever the guarded write, the reading of states, and the scripts `examples`, `learn` and `freshness` do
stands here. A server that can say what a user may do (Redis 7.0, Valkey) is asked, once a partition is located; Redis 8
says it only of commands that are long enough to be run.
"""

from streams.keys import Keys

RIGHTS = {
    "meta": "HGETALL",
    "guard": "WATCH HGETALL HGET HMGET HSET TYPE",
    "state": "WATCH HLEN HSCAN HSET HDEL TYPE",
    "customer": "HSET DEL TYPE",
    "members": "ZADD ZREM TYPE",
    "segment": "ZREM TYPE",  # of schema 1: customers leave them with their next score
    "changes": "XADD TYPE",
    "training": "HSET HSCAN DEL TYPE",
    "erased": "HGETALL HGET HSET TYPE",
    "rejected": "HINCRBY TYPE",
    "model": "HGETALL HGET HMGET HSET TYPE",
    "model:<version>": "GET SET DEL",
    "models": "RPUSH LPOP LREM LLEN",
    "models:pinned": "SISMEMBER",
    "ledger": "HGETALL HSET HDEL",
    "partitions": "HSET",
    "freshness": "HMGET HSET TYPE",
}
BEHIND = {  # words that a command takes behind its key, at least
    **dict.fromkeys(("HDEL", "HGET", "HMGET", "HSCAN", "RPUSH", "SET", "SISMEMBER", "ZREM"), 1),
    **dict.fromkeys(("HINCRBY", "HSET", "LREM", "ZADD"), 2),
    "XADD": 3,
}


def commands(keys: Keys, partition: int) -> list[tuple[str, ...]]:
    """Each command with a key of each kind that it is given, and as many words as make it whole.

    >>> commands(Keys(), 3)[:4]
    [('HGETALL', 'crm:meta'), ('WATCH', 'crm:guard:3'), ('HGETALL', 'crm:guard:3'), ('HGET', 'crm:guard:3', '0')]
    """
    key = {
        "meta": keys.meta,
        "guard": keys.guard(partition),
        "state": keys.state(partition),
        "customer": keys.customer("customer"),
        "members": keys.set(keys.members_of(0), partition),
        "segment": keys.set("segment:0", partition),
        "changes": keys.changes(partition),
        "training": keys.training(partition, 0),
        "erased": keys.erased(partition),
        "rejected": keys.rejected(partition),
        "model": keys.model,
        "model:<version>": keys.version("version"),
        "models": keys.versions,
        "models:pinned": keys.pinned,
        "ledger": keys.ledger,
        "partitions": keys.partitions,
        "freshness": keys.freshness(partition),
    }
    return [
        (name, key[kind], *("0",) * BEHIND.get(name, 0)) for kind, names in RIGHTS.items() for name in names.split()
    ]
