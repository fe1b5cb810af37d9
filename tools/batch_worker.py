"""What runs on the machines of a cluster: the list of photos on the one that started the job, a Predictor on each core.

One row of the Ray dataset is a batch of photos, and then the rows of results of that batch, so that a photo's results
can't be torn apart whatever the sizes of Ray's blocks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from agegender.app.inference.ahead import ReadAhead
from agegender.app.inference.config import InferConfig
from agegender.errors import ImageError
from tools.batch_output import SCHEMA, rows_of, seen_images
from tools.batch_source import Input, Named

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Paths are bytes: a file's name need not be text.
_PHOTOS = pa.list_(pa.struct([("path", pa.binary()), ("error", pa.string())]))
_ROWS = pa.list_(pa.struct(list(SCHEMA)))
# A photo that is read while another is computed, and one that waits; each takes three bytes a pixel.
_AHEAD = 2


def list_photos(photos: Input, *, done: Sequence[Path], batch_size: int) -> Iterator[pa.Table]:
    """Yield batches of the photos that the files ``done`` don't have, each a table of one row and column ``photos``."""
    seen = seen_images(done)
    left = (named for named in photos.photos() if named.image not in seen)
    while batch := [{"path": os.fsencode(named.path), "error": named.error} for named in islice(left, batch_size)]:
        yield pa.table({"photos": pa.array([batch], _PHOTOS)})


def photo_source(photos: Input, *, done: Sequence[Path], batch_size: int) -> Any:
    """Return ``list_photos`` as a Ray datasource of one task, which waits whenever nobody needs more photos yet."""
    from ray.data import Datasource, ReadTask
    from ray.data.block import BlockMetadata

    class PhotoSource(Datasource):
        def get_read_tasks(self, parallelism: int, *args: Any, **kwargs: Any) -> list[Any]:
            unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
            read: Callable[[], Iterator[pa.Table]] = lambda: list_photos(photos, done=done, batch_size=batch_size)  # noqa: E731
            return [ReadTask(read, unknown)]

        def estimate_inmemory_data_size(self) -> int | None:
            return None

    return PhotoSource()  # type: ignore[no-untyped-call]


def rows_in(table: pa.Table) -> pa.Table:
    """Return what a ``FaceWorker`` made as a table of ``SCHEMA``."""
    return pa.Table.from_struct_array(table["rows"].combine_chunks().flatten()).cast(SCHEMA)


class FaceWorker:
    """An actor of Ray: opens the model of ``config`` once and goes through batches of photos on one core.

    ``folder`` is what relative paths start from. Raises what ``Predictor`` raises.
    """

    def __init__(self, config: InferConfig, folder: str) -> None:
        # Detectors take their threads from here.
        os.environ["OMP_NUM_THREADS"] = "1"
        import cv2

        from agegender.app.inference.model import open_model

        cv2.setNumThreads(1)
        if Path(folder).is_dir():
            os.chdir(folder)
        self._predictor = open_model(config, lang="en")

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return for each batch of photos (column ``photos``) its rows of results (column ``rows``)."""
        return pa.table({"rows": pa.array([self._batch(batch) for batch in table["photos"].to_pylist()], _ROWS)})

    def _batch(self, batch: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        named = [Named(os.fsdecode(photo["path"]), photo["error"]) for photo in batch]
        ahead = ReadAhead(named, _read, workers=1, ahead=_AHEAD)
        try:
            return [row for photo, reading in ahead for row in self._rows(photo, reading)]
        finally:
            ahead.close()

    def _rows(self, photo: Named, reading: Future[npt.NDArray[np.uint8]]) -> list[dict[str, Any]]:
        try:
            return rows_of(photo.image, self._predictor.predict(reading.result()))
        except ImageError as error:
            return rows_of(photo.image, [], _as_text(str(error)))
        # Whatever an executor trips over on one photo must not end a job of days; its row tells.
        except Exception as error:
            return rows_of(photo.image, [], _as_text(f"{photo.image}: {type(error).__name__}: {error}"))


def _read(photo: Named) -> npt.NDArray[np.uint8]:
    from agegender.face.photo import read_photo

    if photo.error is not None:
        raise ImageError(photo.error)
    return read_photo(photo.path)


def _as_text(message: str) -> str:
    """Return a message on one line, with bytes of file names that are no text as ``\\xe9``."""
    return os.fsencode(" ".join(message.split())).decode("utf-8", "backslashreplace")
