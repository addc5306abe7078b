"""TFDS's image sets: as stored, decoded once, and one clear sentence where they cannot be had."""

import importlib
import io
import json
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import tensorflow_datasets
from PIL import Image

from al_jax import data
from al_jax.data.dataset import Dataset

tfds = importlib.import_module("al_jax.data.tfds")  # the module, whose name in the package is a function
PREPARED = Path(__file__).parents[3] / "shared" / "tfds"
needs_data = pytest.mark.skipif(not PREPARED.is_dir(), reason="no ../shared/tfds: the real data sets are not here")
MADE_UP_ROWS = {"train": 1100, "test": 50}  # more than one decoded batch
BATCHBALD_SEEDS = [  # the first labelled rows of MNIST in Kirsch et al. (2019), rows of the original file
    *(38043, 40091, 17418, 2094, 39879, 3133, 5011, 40683, 54379, 24287),
    *(9849, 59305, 39508, 39356, 8758, 52579, 13655, 7636, 21562, 41329),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for the real data, so that MNIST is decoded once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AL_JAX_CACHE", str(folder))
        patch.setenv("TFDS_DATA_DIR", str(PREPARED))
        yield folder


@pytest.fixture
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing prepared, nothing cached, no TensorFlow."""
    monkeypatch.setenv("AL_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "prepared"))
    monkeypatch.setattr(tfds, "find_spec", lambda name: None)
    return tmp_path


def same(one: Dataset, other: Dataset) -> bool:
    return one.name == other.name and all(np.array_equal(x, y) for x, y in zip(one[1:6], other[1:6], strict=True))


def make_up(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, Any]]]:
    """Let TFDS's own builder of that name write made-up examples instead of downloading; they are returned as written.

    TensorFlow is not needed, as Pillow and not TensorFlow encodes the images.
    """
    builder = tensorflow_datasets.builder(name)
    image, generator = builder.info.features["image"], np.random.default_rng(0)
    labels = {key: builder.info.features[key] for key in ("label", "coarse_label") if key in builder.info.features}
    examples = {
        split: [
            {"image": generator.integers(0, 256, image.shape, dtype=np.uint8)}
            | {key: int(generator.integers(label.num_classes)) for key, label in labels.items()}
            | ({"id": str(row)} if "id" in builder.info.features else {})
            for row in range(rows)
        ]
        for split, rows in MADE_UP_ROWS.items()
    }

    def generate(split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for row, example in enumerate(examples[split]):
            file = io.BytesIO()
            Image.fromarray(example["image"].squeeze()).save(file, "PNG")
            file.seek(0)
            yield row, example | {"image": file}

    def split_generators(self: Any, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        return {split: generate(split) for split in examples}

    monkeypatch.setattr(type(builder), "_split_generators", split_generators)
    return examples


@needs_data
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_real_mnist_and_fashion_mnist(name: str, cache: Path) -> None:
    dataset = data.load(name)
    assert dataset.name == name
    assert dataset.inputs.shape == (60_000, 28, 28, 1)
    assert dataset.test_inputs.shape == (10_000, 28, 28, 1)
    assert dataset.inputs.dtype == dataset.test_inputs.dtype == np.uint8
    assert dataset.labels.dtype == dataset.test_labels.dtype == np.int32
    assert dataset.num_classes == 10
    train, test = [6000] * 10, [1000] * 10
    if name == "mnist":
        train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(dataset.labels).tolist() == train
    assert np.bincount(dataset.test_labels).tolist() == test
    mean = {"mnist": 0.1307, "fashion_mnist": 0.2860}[name]  # the constants that everyone normalises with
    assert dataset.inputs.mean() / 255 == pytest.approx(mean, abs=5e-5)


@needs_data
def test_mnist_in_the_order_of_the_original_file(cache: Path) -> None:
    mnist = data.load("mnist")
    original = data.original_rows("mnist", "train", 60_000)
    rows = data.tfds_rows(original)
    assert np.array_equal(original[rows], np.arange(60_000))
    assert np.array_equal(rows[original], np.arange(60_000))
    labels = mnist.labels[rows]
    assert labels[:6].tolist() == [5, 0, 4, 1, 9, 2]
    assert np.bincount(labels[BATCHBALD_SEEDS]).tolist() == [2] * 10
    assert np.bincount(mnist.labels[BATCHBALD_SEEDS], minlength=10).tolist() != [2] * 10
    test = mnist.test_labels[data.tfds_rows(data.original_rows("mnist", "test", 10_000))]
    assert test[:6].tolist() == [7, 2, 1, 0, 4, 1]


@needs_data
def test_fashion_mnist_in_the_order_of_the_original_file(cache: Path) -> None:
    rows = data.tfds_rows(data.original_rows("fashion_mnist", "train", 60_000))
    assert data.load("fashion_mnist").labels[rows][:6].tolist() == [9, 0, 0, 3, 0, 2]


@needs_data
@pytest.mark.parametrize(("split", "size"), [("train", 50_000), ("test", 10_000)])
def test_original_rows_of_cifar10_are_those_in_its_ids(split: str, size: int) -> None:
    rows = tensorflow_datasets.builder("cifar10", data_dir=PREPARED).as_data_source(
        split=split, decoders={"image": tensorflow_datasets.decode.SkipDecoding()}
    )
    assert len(rows) == size
    original = data.original_rows("cifar10", split, size)
    some = range(0, size, size // 2000)
    assert [f"{split}_{row:05d}".encode() for row in original[some]] == [r["id"] for r in rows.__getitems__(some)]
    begin = rows.__getitems__(data.tfds_rows(original)[:6].tolist())
    assert [row["label"] for row in begin] == ([6, 9, 9, 4, 1, 1] if split == "train" else [3, 8, 8, 0, 6, 6])


@needs_data
def test_the_second_load_reads_the_cache_alone(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = data.load("mnist")
    monkeypatch.setenv("TFDS_DATA_DIR", str(cache / "nothing"))  # nor do the prepared data have to be there
    monkeypatch.setattr(tfds, "_decode", None)
    start = time.perf_counter()
    second = data.load("mnist")
    assert time.perf_counter() - start < 1
    assert same(first, second)
    assert isinstance(second.inputs.base, np.memmap)
    assert sorted(path.name for path in (cache / "data" / "mnist").iterdir()) == ["3.0.1"]


@needs_data
def test_bangla_as_stored(cache: Path) -> None:
    dataset = data.load("cmaterdb/bangla")
    assert dataset.inputs.shape == (5000, 32, 32, 3)
    assert dataset.test_inputs.shape == (1000, 32, 32, 3)
    assert dataset.inputs.dtype == np.uint8
    assert np.bincount(dataset.labels).tolist() == [500] * 10
    assert np.bincount(dataset.test_labels).tolist() == [100] * 10
    stored = tensorflow_datasets.data_source("cmaterdb/bangla", split="train", data_dir=PREPARED, download=False)
    for row in (0, 1, 1023, 1024, 4999):
        assert np.array_equal(dataset.inputs[row], stored[row]["image"])
        assert dataset.labels[row] == stored[row]["label"]


@pytest.mark.parametrize(
    ("name", "shape", "num_classes"),
    [("emnist/balanced", (28, 28, 1), 47), ("svhn_cropped", (32, 32, 3), 10), ("cifar100", (32, 32, 3), 100)],
)
def test_a_made_up_tree_of_real_features(
    name: str, shape: tuple[int, ...], num_classes: int, nothing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = make_up(name, monkeypatch)
    tensorflow_datasets.builder(name, data_dir=nothing / "prepared").download_and_prepare(file_format="array_record")
    dataset = data.load(name)
    assert dataset.num_classes == num_classes
    assert dataset.inputs.shape == (1100, *shape)
    assert dataset.test_inputs.shape == (50, *shape)
    train = data.original_rows("mnist", "train", 1100)  # every builder that numbers its rows is shuffled alike
    assert np.array_equal(dataset.inputs, [examples["train"][row]["image"] for row in train])
    assert dataset.labels.tolist() == [examples["train"][row]["label"] for row in train]
    assert same(data.load(name), dataset)


def test_tfds_prepares_what_is_missing_where_it_can(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfds, "find_spec", lambda name: True)
    monkeypatch.setattr(tfds, "_silent_hosts", lambda urls: [])
    examples = make_up("emnist/balanced", monkeypatch)
    dataset = data.load("emnist/balanced")
    assert sorted(dataset.test_labels) == sorted(example["label"] for example in examples["test"])
    assert list((nothing / "prepared" / "emnist" / "balanced").glob("*/*.array_record-*"))


def test_a_record_that_cannot_be_read_is_named(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_up("svhn_cropped", monkeypatch)
    builder = tensorflow_datasets.builder("svhn_cropped", data_dir=nothing / "prepared")
    builder.download_and_prepare(file_format="array_record")
    (file,) = Path(builder.data_dir).glob("*train.array_record*")
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"^dataset='svhn_cropped': record \d+ of split train in .* cannot be read"):
        data.load("svhn_cropped")
    assert not list((nothing / "cache" / "data" / "svhn_cropped").glob("[!.]*")), "nothing half-made is kept"


def test_a_damaged_cache_is_made_anew(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_up("svhn_cropped", monkeypatch)
    builder = tensorflow_datasets.builder("svhn_cropped", data_dir=nothing / "prepared")
    builder.download_and_prepare(file_format="array_record")
    # copies, not maps of the files that are to be damaged
    first = jax.tree.map(lambda x: np.copy(x) if isinstance(x, np.ndarray) else x, data.load("svhn_cropped"))
    (folder,) = (nothing / "cache" / "data" / "svhn_cropped").iterdir()
    assert {path.stem for path in folder.iterdir()} == {*tfds.ARRAYS, "index"}
    images, index = folder / "train_images.npy", folder / "index.json"
    whole, intact = images.read_bytes(), index.read_text()

    def from_other(**source: Any) -> str:
        return json.dumps(json.loads(intact) | {"source": json.loads(intact)["source"] | source})

    def replaced_by_a_file() -> None:
        shutil.rmtree(folder)
        folder.write_text("")

    damages: dict[str, Callable[[], object]] = {
        "half an array": lambda: images.write_bytes(whole[: len(whole) // 2]),
        "an empty array": lambda: images.write_bytes(b""),
        "no array": lambda: images.write_bytes(b"PK" + whole[2:]),
        "other pixels": lambda: images.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1])),
        "another shape": lambda: np.save(folder / "train_labels.npy", first.labels[:-1]),
        "no labels": lambda: (folder / "test_labels.npy").unlink(),
        "no index": lambda: index.unlink(),
        "half an index": lambda: index.write_text(intact[:100]),
        "an index of another kind": lambda: index.write_text("[]"),
        "another version": lambda: index.write_text(from_other(name="svhn_cropped/1.0.0")),
        "another label": lambda: index.write_text(from_other(keys=["image", "id"])),
        "other row counts": lambda: index.write_text(from_other(splits={"train": [1101, 1], "test": [50, 1]})),
        "other splits": lambda: index.write_text(from_other(splits={"train": [1100, 1]})),
        "a file in its place": replaced_by_a_file,
    }
    for name, damage in damages.items():
        damage()
        assert same(data.load("svhn_cropped"), first), name
        assert images.read_bytes() == whole, name
        assert index.read_text() == intact, name
    assert list(folder.parent.iterdir()) == [folder]  # nothing temporary stays


def test_an_interrupted_decoding_leaves_nothing(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_up("svhn_cropped", monkeypatch)
    builder = tensorflow_datasets.builder("svhn_cropped", data_dir=nothing / "prepared")
    builder.download_and_prepare(file_format="array_record")
    decode = tfds._decode

    def interrupted(builder: Any, split: str, folder: Path) -> list[np.ndarray]:
        if split == "test":
            raise KeyboardInterrupt
        return decode(builder, split, folder)

    monkeypatch.setattr(tfds, "_decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data.load("svhn_cropped")
    assert list((nothing / "cache" / "data" / "svhn_cropped").iterdir()) == []
    monkeypatch.setattr(tfds, "_decode", decode)
    assert len(data.load("svhn_cropped").labels) == 1100


def test_other_data_prepared_under_the_same_version_replace_the_cache(
    nothing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = make_up("svhn_cropped", monkeypatch)
    for rows, folder in ((1100, "one"), (30, "two")):
        examples["train"] = examples["train"][:rows]
        monkeypatch.setenv("TFDS_DATA_DIR", str(nothing / folder))
        builder = tensorflow_datasets.builder("svhn_cropped", data_dir=nothing / folder)
        builder.download_and_prepare(file_format="array_record")
        assert len(data.load("svhn_cropped").labels) == rows


def test_tfrecord_is_refused_in_one_sentence(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_up("svhn_cropped", monkeypatch)
    builder = tensorflow_datasets.builder("svhn_cropped", data_dir=nothing / "prepared")
    builder.download_and_prepare(file_format="array_record")
    info = Path(builder.data_dir) / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(ValueError, match=r"^dataset='svhn_cropped' is prepared in .* as tfrecord: expected array_reco"):
        data.load("svhn_cropped")


NOT_PREPARED = r"^dataset='cifar100' is not prepared in .*prepared/cifar100/3\.\d\.\d and "
REMEDY = r": set TFDS_DATA_DIR to a data_dir where it is, as array_record, or `pip install tensorflow` and be online$"


def test_nothing_prepared_and_no_tensorflow(nothing: Path) -> None:
    with pytest.raises(
        ValueError, match=NOT_PREPARED + "TensorFlow, which could prepare it, is not installed" + REMEDY
    ):
        data.load("cifar100")
    assert not (nothing / "cache").exists()


def fails(*args: Any, **options: Any) -> None:
    raise socket.gaierror("Name or service not known")


def hangs(*args: Any, **options: Any) -> None:
    time.sleep(20)


@pytest.mark.parametrize("network", [fails, hangs])
def test_nothing_prepared_and_no_network(network: Any, nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for proxy in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.upper(), raising=False)
    monkeypatch.setattr(tfds, "find_spec", lambda name: True)
    monkeypatch.setattr(socket, "getaddrinfo", network)
    start = time.perf_counter()
    with pytest.raises(ValueError, match=NOT_PREPARED + r"[\w.]+ cannot be reached to download it" + REMEDY):
        data.load("cifar100")
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize(
    ("answer", "silent"),
    [
        (io.BytesIO(), []),
        (urllib.error.HTTPError("", 403, "", None, None), []),  # type: ignore[arg-type]
        (urllib.error.HTTPError("", 502, "", None, None), ["host"]),  # type: ignore[arg-type]
        (urllib.error.URLError("refused"), ["host"]),
    ],
)
def test_who_answers_is_not_silent(answer: Any, silent: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def urlopen(request: urllib.request.Request, timeout: float) -> io.BytesIO:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    assert tfds._silent_hosts(["https://host/b", "https://host/a"]) == silent


def test_a_failing_download_is_told_in_one_sentence(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(self: Any, dl_manager: Any) -> None:
        raise OSError("checksum\nof the file")

    monkeypatch.setattr(tfds, "find_spec", lambda name: True)
    monkeypatch.setattr(tfds, "_silent_hosts", lambda urls: [])
    monkeypatch.setattr(tensorflow_datasets.builder_cls("cifar100"), "_split_generators", download)
    with pytest.raises(ValueError, match=NOT_PREPARED + r"preparing it failed \(checksum\)" + REMEDY):
        data.load("cifar100")


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match=r"^dataset='fashion_mnst' is unknown: did you mean 'fashion_mnist'.*digits"):
        data.load("fashion_mnst")
    with pytest.raises(ValueError, match=r"^dataset='digts' is unknown: did you mean 'digits'.*cifar10, cifar100,"):
        data.load("digts")
    with pytest.raises(ValueError, match=r"^dataset='cmaterdb' is unknown: .*cmaterdb/bangla"):
        data.tfds("cmaterdb")
    with pytest.raises(ValueError, match=r"^dataset='svhn_cropped' is unknown; known: cifar10, fashion_mnist, mnist"):
        data.original_rows("svhn_cropped", "train", 3)
    with pytest.raises(ValueError, match=r"^split='validation' is unknown"):
        data.original_rows("mnist", "validation", 3)
