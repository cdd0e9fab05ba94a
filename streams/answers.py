"""What an error of Redis means: which pass by themselves, and the way out of those that do not.

The rule: what Redis answers otherwise after a while, as it is or once its operator has mended it, is waited for with a
line that says so; what it goes on answering to this program ends it. No line quotes a key, for a key may be an id.
"""

import ast
import contextlib
import re

from redis import exceptions

PASSING = {
    "LOADING": "it loads its data",
    "READONLY": "a replica answers: a failover is under way, or CRM_REDIS_URL names a replica",
    "MASTERDOWN": "a replica answers that has lost its primary",
    "NOREPLICAS": "too few replicas follow it (min-replicas-to-write)",
    "BUSY": "a script runs too long: whoever started it may end it with SCRIPT KILL",
    "CLUSTERDOWN": "its cluster is down",
    "TRYAGAIN": "its cluster moves keys",
    "OOM": "its memory is full: raise maxmemory",
    "MISCONF": "it cannot save: its disk is full or may not be written",
}
ENDING = {
    r"WRONGTYPE": "another program wrote under CRM_PREFIX: remove its key, then run `streams rebuild`",
    r"NOPERM|ACL failure|[Pp]ermission|The user executing the script": "grant the user of CRM_REDIS_URL what it lacks",
    r"WRONGPASS|NOAUTH|AUTH": "mend user and password in CRM_REDIS_URL",
    r"MOVED|ASK|CROSSSLOT": "Redis Cluster is not served: all keys must be on one primary",
    r"unknown command": "Redis 6.2 or newer is needed, with all its commands",
}
ANSWER = re.compile(rf"(?:^|\s)-?({'|'.join(PASSING)})\b")  # Redis 6 quotes it inside of what it says of a script
UNLED = re.compile(r"No master found for (.*?)(?: : <|$)")  # redis-py, which quotes its whole client behind that
PIPED, CAUSED = "Command # ", re.compile(r"\) of pipeline caused error: (?=\()")  # redis-py, around what Redis said


def waits(error: Exception) -> str | None:
    """What is waited for, if the error passes by itself; None if it does not, or is none of Redis's.

    >>> waits(exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."))
    'NOREPLICAS: too few replicas follow it (min-replicas-to-write)'
    >>> waits(exceptions.ResponseError("Error running script (call to f_1): @user_script:1: -READONLY You can't write"))
    'READONLY: a replica answers: a failover is under way, or CRM_REDIS_URL names a replica'
    >>> waits(exceptions.ResponseError("Command # 1 (HMGET crm:guard:0...) of pipeline caused error: ('BUSY so',)"))
    'BUSY: a script runs too long: whoever started it may end it with SCRIPT KILL'
    >>> waits(exceptions.ConnectionError("Connection refused")), waits(exceptions.AuthenticationError("no"))
    ('Connection refused', None)
    >>> waits(exceptions.ConnectionError("max number of clients reached"))
    'max number of clients reached: raise maxclients'
    >>> waits(exceptions.ConnectionError("No master found for 'it' : <redis.asyncio.client.Redis(...)> - of network"))
    "CRM_REDIS_SENTINELS: none of them answers and names a primary of CRM_REDIS_SERVICE='it'"
    """
    if isinstance(error, exceptions.AuthenticationError | exceptions.AuthorizationError):
        return None
    if found := ANSWER.search(_text(error)):
        return f"{found[1]}: {PASSING[found[1]]}"
    if isinstance(error, exceptions.ConnectionError) and (unled := UNLED.match(str(error))):
        return f"CRM_REDIS_SENTINELS: none of them answers and names a primary of CRM_REDIS_SERVICE={unled[1]}"
    if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | OSError):
        said = str(error) or type(error).__name__
        return f"{said}: raise maxclients" if "max number of clients" in said else said
    return None


def refused(error: Exception) -> str:
    """The same of a Redis that answers, but takes nothing for now; "" of one that does not answer.

    >>> refused(exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots, but it cannot"))
    'MISCONF: it cannot save: its disk is full or may not be written'
    >>> refused(exceptions.ConnectionError("Connection refused"))
    ''
    """
    return (waits(error) or "") if word(error) in PASSING else ""


def word(error: Exception) -> str:
    """The same as one of few words, for counting.

    >>> word(exceptions.ResponseError("NOREPLICAS Not enough good replicas to write.")), word(OSError("of many"))
    ('NOREPLICAS', 'OSError')
    >>> word(exceptions.ResponseError("Command # 2 (GET crm:customer:OOM ann) of pipeline caused error: ('BUSY so',)"))
    'BUSY'
    """
    found = ANSWER.search(_text(error))
    return found[1] if found else type(error).__name__


def ends(error: exceptions.RedisError) -> str:
    """What Redis said, and the way out.

    >>> ends(exceptions.AuthenticationError("invalid username-password pair", status_code="WRONGPASS"))
    'Redis says: WRONGPASS invalid username-password pair: mend user and password in CRM_REDIS_URL'
    >>> ends(exceptions.ResponseError("Command # 1 (GET crm:customer:ann) of pipeline caused error: ('ERR of it',)"))
    'Redis says: ERR of it'
    """
    text = _text(error)
    way_out = next((way for said, way in ENDING.items() if re.search(said, text)), None)
    return f"Redis says: {text}" + (f": {way_out}" if way_out else "")


def warnings(policy: str | None, append_only: int | None, snapshots: str | None) -> list[str]:
    """What of a server's settings may lose data, a line each; None: it did not tell.

    >>> warnings("allkeys-lru", 0, "")[0]
    'Redis evicts when it is full (maxmemory-policy allkeys-lru): set noeviction, or customers get lost'
    >>> warnings("noeviction", 0, "3600 1"), warnings(None, None, None)
    ([], [])
    """
    lines = []
    if policy is not None and policy != "noeviction":
        lines.append(f"Redis evicts when it is full (maxmemory-policy {policy}): set noeviction, or customers get lost")
    if append_only == 0 and snapshots == "":
        lines.append("Redis keeps nothing on disk (appendonly no, no save): set appendonly yes, or a restart loses all")
    return lines


def _text(error: Exception) -> str:
    """As Redis said it, without where in a script and what it was asked; redis-py takes the first word away where it
    knows it."""
    code, said = getattr(error, "status_code", None), _bare(str(error))
    return re.sub(r" script: .*|, with args beginning with: .*", "", f"{code} {said}" if code else said)


def _bare(text: str) -> str:
    """Without the command of a pipeline, which redis-py quotes before what it raised, in a transaction twice.

    >>> once = f"Command # 1 (GET ann (x) of pip...) of pipeline caused error: {('ERR it',)}"
    >>> _bare(once), _bare(f"Command # 1 (GET ann) of pipeline caused error: {(once,)}"), _bare("ERR it")
    ('ERR it', 'ERR it', 'ERR it')
    >>> _bare(f"Command # 1 (GET ) of pipeline caused error: ('OOM'...) of pipeline caused error: {('ERR it',)}")
    'ERR it'
    >>> _bare("Command # 1 (GET ann) of pipeline caused error: in words")
    'a command was refused'
    """
    if not text.startswith(PIPED):
        return text
    for found in CAUSED.finditer(text):  # an id may hold such words, too
        with contextlib.suppress(ValueError, SyntaxError):
            said, *_ = ast.literal_eval(text[found.end() :])
            return _bare(str(said))
    return "a command was refused"
