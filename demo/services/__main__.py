"""`python -m demo.services`: starts Kafka and Valkey and says where they are, until Ctrl-C.

Exit code 2 with one line when one cannot be had.
"""

import contextlib
import signal
import sys

from demo.services.jars import VERSION, ServiceError
from demo.services.servers import kafka, valkey


def main() -> None:
    """Start both, say where they are, wait for Ctrl-C. Exit code 2 with one line when one cannot be had."""
    with contextlib.suppress(KeyboardInterrupt):
        try:
            with kafka() as broker, valkey() as store:
                print(f"Kafka {VERSION}  CRM_KAFKA={broker.address}  (pid {broker.pid})")
                print(f"Valkey       CRM_REDIS_URL={store.url}  (pid {store.pid})")
                print("Ctrl-C stops both.", flush=True)
                while True:
                    signal.pause()
        except ServiceError as error:
            print(error, file=sys.stderr)
            raise SystemExit(2) from None


if __name__ == "__main__":
    main()
