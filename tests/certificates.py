"""An authority of our own and what it signed, made by `openssl`, for servers that tests start on loopback."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Authority:
    """ca: its certificate; signed, key: of a server called localhost or 127.0.0.1; chain: both in one file."""

    ca: Path
    signed: Path
    key: Path
    chain: Path


def authority(directory: Path, name: str) -> Authority:
    """A new one, with files of its own in the directory; as strict as Python 3.13 asks (RFC 5280)."""
    directory.mkdir(parents=True, exist_ok=True)
    made = Authority(*(directory / file for file in ("ca.pem", "server.pem", "server.key", "server.chain.pem")))
    ca_key, request = directory / "ca.key", directory / "server.csr"
    names = directory / "names.cnf"
    usage = "extendedKeyUsage=serverAuth,clientAuth\nauthorityKeyIdentifier=keyid\n"
    names.write_text(f"subjectAltName=DNS:localhost,IP:127.0.0.1\n{usage}")
    new = ["-newkey", "rsa:2048", "-nodes"]
    signs = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    _openssl("req", "-x509", *new, *signs, "-keyout", ca_key, "-out", made.ca, "-days", "2", "-subj", f"/CN={name}")
    _openssl("req", *new, "-keyout", made.key, "-out", request, "-subj", "/CN=localhost")
    by = ["-CA", made.ca, "-CAkey", ca_key, "-CAcreateserial"]
    _openssl("x509", "-req", "-in", request, *by, "-out", made.signed, "-days", "2", "-extfile", names)
    made.chain.write_text(made.key.read_text() + made.signed.read_text() + made.ca.read_text())
    return made


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
