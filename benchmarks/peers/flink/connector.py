"""Flink's connector to Kafka, which its Python package lacks: one jar, fetched by jgo and held to its sha256.

python -m benchmarks.peers.flink.connector build/peers/flink
"""

import hashlib
import shutil
import sys
from pathlib import Path

GROUP, ARTIFACT, VERSION = "org.apache.flink", "flink-sql-connector-kafka", "5.0.0-2.2"
JAR = f"{ARTIFACT}-{VERSION}.jar"
SHA256 = "5605c691d11a501382c383fecba37a7a552467da5ab7ba904ef5d6f3d62c5616"


def main(directory: Path) -> None:
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=directory / "repository")
    fetched = context.project(GROUP, ARTIFACT).at_version(VERSION).artifact().resolve()
    if hashlib.sha256(fetched.read_bytes()).hexdigest() != SHA256:
        sys.exit(f"{JAR} is not what it was: its sha256 differs")
    shutil.copy(fetched, directory / JAR)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
