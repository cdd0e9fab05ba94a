"""Makes passwords, of Redis's users and Grafana's admin, tokens of the API, and what docker-compose.yml mounts:
`python deploy/users.py`.

The rule: a password or token stands in secrets/ alone, once made it stays (delete its file and run this again for
another), and Redis and the API get its SHA-256. The directory is its owner's; its files can be read, for containers
have users of their own.
"""

import hashlib
import os
import secrets
import sys
from pathlib import Path

HERE = Path(__file__).parent
USERS = ("worker", "publisher", "reader", "api")
READABLE = 0o644
TOKENS = {"crm": "read,lists", "events": "admin"}  # scopes by name: docs/api.md


def password(path: Path) -> str:
    """The one in the file, or a new one, which then stands there."""
    if not path.exists():
        path.write_text(secrets.token_hex(32))
    path.chmod(READABLE)
    return path.read_text().strip()


def leave(path: Path, text: str) -> None:
    """Writes a file that containers can read, whatever its mode was before."""
    path.write_text(text)
    path.chmod(READABLE)


def make(directory: Path, address: str) -> None:
    """Writes secrets/users.acl, for each user NAME (the password) and NAME.url, for each token NAME.token, tokens,
    which the API reads, and grafana, a password.

    address: host:port of Redis.
    """
    directory.mkdir(exist_ok=True)
    directory.chmod(0o700)  # one that was there, too: its files are readable, for containers have other users
    password(directory / "grafana")
    tokens = directory / "tokens"
    others = [line for line in _lines(tokens) if line.split()[0] not in TOKENS]  # that `streams api --new-token` added
    ours = [f"{name} {scopes} {_digest(password(directory / f'{name}.token'))}" for name, scopes in TOKENS.items()]
    leave(tokens, "\n".join([*ours, *others]) + "\n")
    rules = (HERE / "users.acl").read_text()
    for user in USERS:
        shown = password(directory / user)
        leave(directory / f"{user}.url", f"redis://{user}:{shown}@{address}/0\n")
        rules = rules.replace(f"#{user.upper()}", f"#{_digest(shown)}")
    users = [line for line in rules.splitlines() if line.startswith("user ")]  # Redis takes no comments here
    leave(directory / "users.acl", "\n".join(users) + "\n")


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.strip()] if path.exists() else []


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


if __name__ == "__main__":
    os.umask(0o022)
    make(Path(sys.argv[1] if len(sys.argv) > 1 else "secrets"), sys.argv[2] if len(sys.argv) > 2 else "valkey:6379")
