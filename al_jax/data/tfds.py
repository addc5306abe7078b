"""Image sets of TensorFlow Datasets (TFDS), read without TensorFlow and decoded once."""

import contextlib
import http.client
import json
import os
import tempfile
import threading
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from jaxtyping import Int, Int64, Shaped

from al_jax.data.dataset import Dataset
from al_jax.errors import unknown

TFDS_NAMES = (
    "mnist",
    "fashion_mnist",
    "cifar10",
    "cifar100",
    "svhn_cropped",
    "emnist/balanced",
    "cmaterdb/bangla",
    "cmaterdb/devanagari",
    "cmaterdb/telugu",
)
IN_HASHED_ORDER = ("mnist", "fashion_mnist", "cifar10")  # checked row by row; see `original_rows`
FORMAT = "array_record"  # the one format that TFDS reads in full without TensorFlow
SECONDS_TO_ANSWER = 5.0
DECODED_AT_ONCE = 1024
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def tfds(name: str) -> Dataset:
    """The data set of that name in TFDS: its train split is the pool, its test split the test set, in TFDS's order.

    Images are uint8 [n, h, w, c] as stored, labels int32. TFDS looks in $TFDS_DATA_DIR, or its own default `data_dir`,
    and downloads and prepares what is not there, which takes TensorFlow. Decoded arrays are kept in
    $AL_JAX_CACHE/data/<name>/<version> (~/.cache/al_jax when unset); they suffice where nothing is prepared, and are
    made anew when they are damaged or the prepared data differ. The arrays are read-only maps of these files.

    ValueError when the name is unknown; the data are prepared in another format than array_record; a record, which is
    named, cannot be read; or they are not prepared, and TensorFlow is missing, a host does not answer within five
    seconds, or TFDS fails.
    """
    if name not in TFDS_NAMES:
        raise unknown("dataset", name, TFDS_NAMES)
    import tensorflow_datasets  # half a second that nobody else should wait for

    builder = tensorflow_datasets.builder(
        name, data_dir=os.path.expanduser(os.environ.get("TFDS_DATA_DIR") or "") or None
    )
    folder = _cache_root() / "data" / name / str(builder.version)
    arrays = _cached(folder, _source(builder))
    if arrays is None:
        if not builder.is_prepared():
            _prepare(name, builder)
        arrays = _decoded(name, builder, folder)
    inputs, labels, test_inputs, test_labels = arrays
    _, label_key = builder.info.supervised_keys
    classes = builder.info.features[label_key].num_classes
    rows = original_rows(name, "train", len(labels)) if name in IN_HASHED_ORDER else None
    return Dataset(name, inputs, labels, test_inputs, test_labels, classes, rows=rows)


def mnist() -> Dataset:
    """MNIST (LeCun et al. 1998): 60 000 grey images of 28 x 28 pixels, 10 digits."""
    return tfds("mnist")


def fashion_mnist() -> Dataset:
    """Fashion-MNIST (Xiao et al. 2017): 60 000 grey images of 28 x 28 pixels, 10 kinds of clothing."""
    return tfds("fashion_mnist")


def cifar10() -> Dataset:
    """CIFAR-10 (Krizhevsky 2009): 50 000 colour images of 32 x 32 pixels, 10 classes."""
    return tfds("cifar10")


def cifar100() -> Dataset:
    """CIFAR-100 (Krizhevsky 2009): 50 000 colour images of 32 x 32 pixels, 100 classes."""
    return tfds("cifar100")


def svhn_cropped() -> Dataset:
    """Street View House Numbers (Netzer et al. 2011): 73 257 colour images of 32 x 32 pixels, 10 digits."""
    return tfds("svhn_cropped")


def original_rows(name: str, split: str, size: int) -> Int64[np.ndarray, "{size}"]:
    """For every row of the TFDS split, of `size` rows in total, the row of the original file that it came from.

    TFDS shuffles: it sorts the original rows by a hash of their number, salted with the split's name ("train" or
    "test"). ValueError for another split, and for a data set other than MNIST, Fashion-MNIST and CIFAR-10.
    """
    if name not in IN_HASHED_ORDER:
        raise unknown("dataset", name, IN_HASHED_ORDER)
    if split not in ("train", "test"):
        raise unknown("split", split, ("train", "test"))
    from tensorflow_datasets.core.hashing import Hasher

    return np.array(sorted(range(size), key=Hasher(split).hash_key), np.int64)


def tfds_rows(original: Int[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """The inverse of `original_rows`: for every row of the original file, its row in the TFDS split."""
    return np.argsort(original)


def _cache_root() -> Path:
    """Where everything that can be made again is kept."""
    return Path(os.environ.get("AL_JAX_CACHE") or "~/.cache/al_jax").expanduser()


def _source(builder: Any) -> dict[str, Any]:
    """What the cache was made from; without the splits, which nobody knows, where nothing is prepared."""
    image_key, label_key = builder.info.supervised_keys
    source = {"name": builder.info.full_name, "keys": [image_key, label_key]}
    if not builder.is_prepared():
        return source
    splits = {split: builder.info.splits[split] for split in ("train", "test")}
    return source | {"splits": {split: [info.num_examples, info.num_bytes] for split, info in splits.items()}}


def _signature(array: Shaped[np.ndarray, "..."]) -> list[Any]:
    """What tells an intact array from a damaged one, for JSON."""
    return [str(array.dtype), list(array.shape), zlib.crc32(np.ascontiguousarray(array).data)]


def _cached(folder: Path, source: dict[str, Any]) -> list[Shaped[np.ndarray, "..."]] | None:
    """The cached arrays in the order of `ARRAYS`, or None unless all are intact and come from that source."""
    try:
        index = json.loads((folder / "index.json").read_text())
        if any(index["source"].get(key) != value for key, value in source.items()):
            return None
        arrays = [np.asarray(np.lib.format.open_memmap(folder / f"{array}.npy", mode="r")) for array in ARRAYS]
        return arrays if index["arrays"] == [_signature(array) for array in arrays] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _decoded(name: str, builder: Any, folder: Path) -> list[Shaped[np.ndarray, "..."]]:
    """Decode both splits into a temporary folder, which then takes the place of the cache folder."""
    formats = {file_format.value for file_format in builder.info.available_file_formats()}
    if FORMAT not in formats:
        raise ValueError(
            f"dataset={name!r} is prepared in {builder.data_dir} as {' and '.join(sorted(formats))}: "
            f"expected {FORMAT}, which is read without TensorFlow; set TFDS_DATA_DIR to a data_dir that has it"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent) as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        written = [array for split in ("train", "test") for array in _decode(builder, split, new)]
        source = _source(builder)
        index = {"source": source, "arrays": [_signature(array) for array in written]}
        (new / "index.json").write_text(json.dumps(index, indent=1))
        if _cached(folder, source) is None:  # unless another process was faster
            with contextlib.suppress(FileNotFoundError):
                folder.rename(Path(temporary) / "old")
            with contextlib.suppress(OSError):  # faster still; its arrays are the same
                new.rename(folder)
    arrays = _cached(folder, source)
    if arrays is None:
        raise OSError(f"{folder} does not hold what was written to it: is the disk full, or AL_JAX_CACHE at fault?")
    return arrays


def _decode(builder: Any, split: str, folder: Path) -> list[Shaped[np.ndarray, "..."]]:
    """The images and the labels of a split, decoded into two files."""
    image_key, label_key = builder.info.supervised_keys
    rows = builder.as_data_source(split=split, file_format=FORMAT)
    shape = (len(rows), *builder.info.features[image_key].shape)
    images = np.lib.format.open_memmap(folder / f"{split}_images.npy", "w+", np.uint8, shape)
    labels = np.lib.format.open_memmap(folder / f"{split}_labels.npy", "w+", np.int32, shape[:1])
    for start in range(0, len(rows), DECODED_AT_ONCE):
        numbers = range(start, min(start + DECODED_AT_ONCE, len(rows)))
        try:
            batch = rows.__getitems__(numbers)
        except Exception as error:  # of the file format, the image decoder: which record it is, nobody says
            first = next((row for row in numbers if not _readable(rows, row)), start)
            raise ValueError(
                f"dataset={builder.name!r}: record {first} of split {split} in {builder.data_dir} cannot be read "
                f"({(str(error) or type(error).__name__).splitlines()[0]}): prepare the data set anew"
            ) from error
        for row, example in zip(numbers, batch, strict=True):
            images[row], labels[row] = example[image_key], example[label_key]
    return [images, labels]


def _readable(rows: Any, row: int) -> bool:
    try:
        rows.__getitems__([row])
    except Exception:  # whatever it is, it has been raised before
        return False
    return True


def _prepare(name: str, builder: Any) -> None:
    """Let TFDS download and prepare the data set; at once a ValueError where that cannot succeed."""
    what = f"dataset={name!r} is not prepared in {builder.data_dir}"
    remedy = f"set TFDS_DATA_DIR to a data_dir where it is, as {FORMAT}, or `pip install tensorflow` and be online"
    if find_spec("tensorflow") is None:
        raise ValueError(f"{what} and TensorFlow, which could prepare it, is not installed: {remedy}")
    silent = _silent_hosts(builder.url_infos)
    if silent:
        raise ValueError(f"{what} and {', '.join(silent)} cannot be reached to download it: {remedy}")
    try:
        builder.download_and_prepare(file_format=FORMAT)
    except Exception as error:  # of the network, the disk, a checksum, TensorFlow: the remedy is the same
        cause = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{what} and preparing it failed ({cause}): {remedy}") from error


def _silent_hosts(urls: Iterable[str]) -> list[str]:
    """The hosts of these addresses that answer nothing within `SECONDS_TO_ANSWER`; TFDS would try for minutes."""
    first = {urlsplit(url).netloc: url for url in sorted(urls, reverse=True)}
    answered: set[str] = set()

    def ask(host: str, url: str) -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=SECONDS_TO_ANSWER).close()
        except urllib.error.HTTPError as error:
            if error.code >= 500:  # as a proxy says of a host that it cannot reach
                return
        except (OSError, http.client.HTTPException):
            return
        answered.add(host)

    # In threads: the time-out does not cover looking a name up.
    threads = [threading.Thread(target=ask, args=pair, daemon=True) for pair in first.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS_TO_ANSWER)
    return sorted(first.keys() - answered)
