"""What `offline fit --out DIR` left: the artefact, and everybody's state at the cut-off."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from models import handover
from streams.refusal import Refusal

if TYPE_CHECKING:
    from models.artefact import Artefact
    from models.model import Model
    from models.rows import Array


def artefact_in(directory: Path) -> "Artefact":
    """The artefact alone. Raises Refusal."""
    path = directory / handover.ARTEFACT
    _there(directory, path)

    from models import artefact

    try:
        return artefact.decode(path.read_bytes())
    except artefact.ArtefactError as error:
        raise Refusal(f"{path}: {error}") from None


def fingerprint(directory: Path) -> str:
    """The SHA-256 of the artefact's file: a fit of another history has another; a purge of customers leaves it.

    Raises Refusal.
    """
    path = directory / handover.ARTEFACT
    _there(directory, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _there(directory: Path, *paths: Path) -> None:
    for path in paths:
        if not path.exists():
            raise Refusal(f"{path} is missing: {directory} is not what `offline fit --out` wrote")


class Kept:
    """names[i] is the customer_id of rows[i] (ROW, whatever known form was left). Raises Refusal.

    What it takes to read them is imported once the files are known to be there.
    """

    artefact: "Artefact"
    names: list[str]
    rows: "Array"

    def __init__(self, directory: Path) -> None:
        self.document = directory / handover.ARTEFACT
        states = directory / handover.STATES
        _there(directory, self.document, states)
        self.artefact, self.fingerprint = artefact_in(directory), fingerprint(directory)
        self._read(states)

    def model(self) -> "Model":
        """What it serves. Raises Refusal for a model of another program, so ask before anything is written."""
        from models.artefact import ArtefactError

        try:
            return self.artefact.restored()
        except ArtefactError as error:
            raise Refusal(f"{self.document}: {error}") from None

    def _read(self, states: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from models.rows import UnknownForm, load_rows

        try:
            with pq.ParquetFile(states) as file:
                if why := handover.STATED.refused(file.metadata.metadata, file.schema_arrow.names):
                    raise Refusal(f"{states}: {why}")
                table = file.read()
            self.names = table["customer_id"].to_pylist()
            self.rows = load_rows(table["state"].to_pylist())
        except UnknownForm as error:
            raise Refusal(f"{states}: {error}: use the program that fitted it") from None
        except pa.ArrowInvalid as error:
            raise Refusal(f"{states}: {error}") from None
