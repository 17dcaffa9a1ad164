"""The manifest of a batch: a Parquet file with one row for every picture, written again as the work goes on."""

import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from usrnet.atomic import write_bytes
from usrnet.batch.places import is_address, place
from usrnet.errors import PictureError, UsrnetError

NAME = "manifest.parquet"
_NEWER = {"contents"}  # columns that manifests of earlier versions lack


@dataclass(frozen=True)
class Row:
    """What became of one picture. ``seconds`` and ``worker`` (host and process) are those of the restoring.

    ``kernel``, ``noise_level``: as they were asked for; where one is ``auto``, ``estimate`` is what was found in the
    picture, as ``usrnet estimate --json`` says it. ``notes``: what a person should know although the work went on.
    ``contents``: the fingerprints of the files among kernel and model, whose names say little.
    """

    input: str
    output: str
    scale: int
    kernel: str
    noise_level: str
    model: str
    status: Literal["written", "skipped", "failed"]
    seconds: float = 0.0
    error: str = ""
    notes: str = ""
    estimate: str = ""
    worker: str = ""
    peak_mb: float = 0.0
    contents: str = ""


SCHEMA = pa.schema(
    [(field.name, {int: pa.int64(), float: pa.float64()}.get(field.type, pa.string())) for field in fields(Row)]  # pyright: ignore[reportArgumentType]
)


class Manifest:
    """The rows in ``manifest.parquet`` of the output folder, by output; of earlier runs too."""

    def __init__(self, folder: str) -> None:
        self.address = f"{folder.rstrip('/')}/{NAME}"
        self.unwritten: UsrnetError | None = None  # why the file lacks rows, if it does
        self.rows: dict[str, Row] = {row.output: row for row in self._read()}

    def add(self, rows: Iterable[Row]) -> None:
        """Take up rows. A picture that was written stays written when it is only met again."""
        for row in rows:
            before = self.rows.get(row.output)
            if row.status == "skipped" and before is not None and before.status == "written":
                continue
            self.rows[row.output] = row

    def write(self) -> None:
        """Write the file, whole or not at all. Raises ``UsrnetError``."""
        content = io.BytesIO()
        rows: list[dict[str, Any]] = [asdict(row) for row in sorted(self.rows.values(), key=lambda row: row.input)]
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), content)
        try:
            if is_address(self.address):
                place(self.address).write(content.getvalue())
            else:
                path = Path(self.address)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(path, content.getvalue())
        except OSError as error:
            raise UsrnetError(f"cannot write {self.address}: {error.strerror}") from error

    def _read(self) -> list[Row]:
        content: Any = Path(self.address)
        try:
            if is_address(self.address):
                content = place(self.address).read()
            elif not content.exists():
                return []
        except PictureError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return []
            raise  # or the rows of an earlier run would be lost
        try:
            table = pq.read_table(content)
            known = [name for name in SCHEMA.names if name in table.column_names or name not in _NEWER]
            return [Row(**row) for row in table.select(known).to_pylist()]
        except (pa.ArrowException, OSError, TypeError, KeyError) as error:
            raise UsrnetError(f"{self.address} is no manifest of ours or is damaged: move it away") from error
