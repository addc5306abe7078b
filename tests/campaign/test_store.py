"""A results folder belongs to one configuration, is never half written, and is left alone when it cannot be used."""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

from al_jax.campaign import checkpoint, store
from al_jax.campaign.store import StoreError

CONFIG = {"data": {"name": "digits", "rare": (1, 2)}, "seeds": 2, "budget": None}
PLAIN = json.loads(json.dumps(CONFIG))


def tree(seed: int = 0, rows: int = 6) -> dict[str, Any]:
    """What a campaign saves: arrays of several types, one of them large, and branches without leaves."""
    generator = np.random.default_rng(seed)
    return {
        "state": {"x": generator.random((rows, 64, 64)).astype(np.float32), "mask": generator.random(50) < 0.5},
        "memory": (),
        "records": [generator.integers(0, 9, (rows, 3), np.int32), np.asarray(seed / 3)],
    }


def same(a: Any, b: Any) -> bool:
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    equal = all(np.array_equal(x, y) and np.asarray(x).dtype == np.asarray(y).dtype for x, y in leaves)
    return equal and jax.tree.structure(a) == jax.tree.structure(b)


def contents(directory: Path) -> dict[str, bytes | None]:
    """Every file and folder below, to the byte."""
    return {str(p.relative_to(directory)): p.read_bytes() if p.is_file() else None for p in directory.rglob("*")}


def restored(directory: Path, config: dict[str, Any] = CONFIG, rows: int = 6) -> Any:
    """The newest checkpoint, as a resumed run reads it."""
    opened = store.open_store(directory, config, resume=True)
    try:
        newest = checkpoint.last_round(opened)
        assert newest is not None
        return checkpoint.restore(opened, newest, tree(rows=rows))
    finally:
        opened.manager.close()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A killed run with checkpoints after rounds 1 and 2: copy it, do not change it."""
    directory = tmp_path_factory.mktemp("store") / "run"
    opened = store.open_store(directory, CONFIG)
    checkpoint.save(opened, 1, tree(1))
    checkpoint.save(opened, 2, tree(2))
    opened.manager.wait_until_finished()
    opened.manager.close()
    return directory


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "run")


# the configuration's hash


def test_the_fingerprint_is_twelve_hexadecimal_digits_of_the_content_whatever_its_order() -> None:
    assert re.fullmatch("[0-9a-f]{12}", store.fingerprint(CONFIG))
    assert store.fingerprint(dict(reversed(CONFIG.items()))) == store.fingerprint(PLAIN) == store.fingerprint(CONFIG)


@pytest.mark.parametrize("change", [{"seeds": 3}, {"budget": 0}, {"data": {"name": "digits"}}, {"new": 1}])
def test_any_change_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert store.fingerprint({**CONFIG, **change}) != store.fingerprint(CONFIG)


# claiming a folder


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_that_is_absent_or_empty_begins_a_run_with_and_without_resume(
    tmp_path: Path, exists: bool, resume: bool
) -> None:
    directory = tmp_path / "a" / "b"
    if exists:
        directory.mkdir(parents=True)
    store.claim(directory, CONFIG, resume=resume)
    assert sorted(p.name for p in directory.iterdir()) == ["config.json", "environment.json"]
    assert json.loads((directory / "config.json").read_text()) == PLAIN
    assert not store.finished(directory)


def test_an_unfinished_run_is_refused_in_one_sentence_without_resume(run: Path) -> None:
    before = contents(run)
    with pytest.raises(StoreError, match=r"^[^\n]*unfinished run[^\n]*--resume$"):
        store.claim(run, CONFIG)
    assert contents(run) == before


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_another_configuration_is_refused_and_the_differences_are_named(run: Path, resume: bool) -> None:
    before = contents(run)
    with pytest.raises(StoreError, match=r"another configuration: it differs in budget, seeds$"):
        store.claim(run, {**CONFIG, "seeds": 3, "budget": 7}, resume=resume)
    assert contents(run) == before


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(StoreError, match="not a results folder"):
        store.claim(tmp_path, CONFIG, resume=resume)
    assert contents(tmp_path) == {"thesis.tex": b"precious"}


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b"[]", b"null"])
def test_a_damaged_configuration_is_named(run: Path, damage: bytes) -> None:
    (run / "config.json").write_bytes(damage)
    before = contents(run)
    with pytest.raises(StoreError, match=r"config\.json|another configuration"):
        store.claim(run, CONFIG, resume=True)
    assert contents(run) == before


class Killed(BaseException):
    """Stands in for the kill."""


def killed_claims(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The folder as a kill leaves it at every step of the first `claim`: before and after each write and rename."""
    write, rename, steps = Path.write_text, Path.replace, 0

    def counted(function: Any, kill_at: int) -> Any:
        def step(*args: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps > kill_at:
                raise Killed
            return function(*args)

        return step

    for kill_at in range(4):  # two files, each written and renamed
        shutil.rmtree(directory, ignore_errors=True)
        steps = 0
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            patch.setattr(Path, "write_text", counted(write, kill_at))
            patch.setattr(Path, "replace", counted(rename, kill_at))
            store.claim(directory, CONFIG)
        yield f"killed after step {kill_at}, which leaves {sorted(p.name for p in directory.iterdir())}"


def test_a_run_that_was_killed_while_it_claimed_its_folder_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for when in killed_claims(tmp_path / "run", monkeypatch):
        try:
            store.claim(tmp_path / "run", CONFIG, resume=True)
        except StoreError as error:
            pytest.fail(f"{when}: {error}")
        assert json.loads((tmp_path / "run" / "config.json").read_text()) == PLAIN, when
        assert json.loads((tmp_path / "run" / "environment.json").read_text()), when


# the environment


def test_the_environment_tells_all_that_bits_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPROC", "5")
    monkeypatch.setenv("XLA_FLAGS", "--some_flag=1")
    here = store.environment()
    assert set(store.EXACT) <= set(here)
    assert here["jax"] == jax.__version__
    assert here["numpy"] == np.__version__
    assert here["platform"] == jax.local_devices()[0].platform
    assert here["devices"] == jax.device_count()
    assert here["xla_flags"] == "--some_flag=1"
    if here["platform"] == "cpu":
        assert here["thread_pool"] == 5
        assert here["deterministic"] is True
    assert here["commit"] is None or re.fullmatch("[0-9a-f]{40}(-dirty)?", here["commit"])
    assert json.loads(json.dumps(here)) == here


def test_the_environment_of_the_start_is_kept(run: Path) -> None:
    assert json.loads((run / "environment.json").read_text()) == [store.environment()]


CHANGES = {
    "thread_pool": 3,
    "jax": "0.0.1",
    "jaxlib": "0.0.1",
    "platform": "tpu",
    "device_kind": "abacus",
    "deterministic": "no",
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_machine_that_would_not_continue_bit_for_bit_is_refused_unless_told(run: Path, name: str) -> None:
    assert set(CHANGES) == set(store.EXACT)
    starts = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps([{**starts[0], name: CHANGES[name]}]))
    before = contents(run)
    with pytest.raises(StoreError, match=rf"^[^\n]*{name} was {CHANGES[name]}, is [^\n]*--allow-inexact[^\n]*$"):
        store.claim(run, CONFIG, resume=True)
    assert contents(run) == before
    store.claim(run, CONFIG, resume=True, allow_inexact=True)


def test_what_does_not_change_the_bits_does_not_hinder(run: Path) -> None:
    starts = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps([{**starts[0], "devices": 99, "commit": "another"}]))
    assert same(restored(run), tree(2))


# checkpoints


def test_no_checkpoint_no_last_round(tmp_path: Path) -> None:
    opened = store.open_store(tmp_path / "run", CONFIG)
    assert checkpoint.last_round(opened) is None
    assert opened.fingerprint == store.fingerprint(CONFIG)
    assert opened.directory == tmp_path / "run"
    opened.manager.close()


def test_the_newest_checkpoint_comes_back_to_the_bit(run: Path) -> None:
    assert same(restored(run), tree(2))


def test_two_checkpoints_are_kept_so_that_a_damaged_one_costs_a_round(run: Path) -> None:
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["1", "2"]
    shutil.rmtree(run / "checkpoints" / "2")
    assert same(restored(run), tree(1))
    opened = store.open_store(run, CONFIG, resume=True)
    for number in (2, 3):
        checkpoint.save(opened, number, tree(number))
    opened.manager.wait_until_finished()
    opened.manager.close()
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["2", "3"]
    assert same(restored(run), tree(3))


def test_a_checkpoint_that_was_not_finished_does_not_count(run: Path) -> None:
    newest = run / "checkpoints" / "2"
    newest.rename(newest.with_name("2.orbax-checkpoint-tmp"))
    assert same(restored(run), tree(1))


def test_partial_files_that_a_kill_left_are_harmless(run: Path) -> None:
    for name in ("config.json", "environment.json", "rounds.csv", "acquired.csv", "summary.json"):
        (run / f"{name}.partial").write_text('{"half": ')
    assert not store.finished(run)
    assert same(restored(run), tree(2))
    store.write_json(run / "summary.json", {"whole": True})
    assert store.finished(run)
    assert json.loads((run / "summary.json").read_text()) == {"whole": True}


def test_a_checkpoint_of_another_configuration_is_an_error_that_touches_nothing(run: Path, tmp_path: Path) -> None:
    other = {**CONFIG, "seeds": 4}
    store.claim(tmp_path / "other", other)
    shutil.copytree(run / "checkpoints", tmp_path / "other" / "checkpoints")
    before = contents(tmp_path / "other")
    with pytest.raises(StoreError, match="checkpoints/2 belongs to another configuration"):
        restored(tmp_path / "other", other)
    assert contents(tmp_path / "other") == before


def test_a_checkpoint_of_other_shapes_is_an_error_that_touches_nothing(run: Path) -> None:
    before = contents(run)
    with pytest.raises(StoreError, match="checkpoints/2"):
        restored(run, rows=5)
    assert contents(run) == before


def damages(size: int) -> dict[str, Any]:
    """Ways to spoil a file of that size."""

    def flip(position: int) -> Any:
        return lambda data: data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]

    flips = {f"byte {p} of {size} flipped": flip(p) for p in sorted({0, size // 3, size // 2, size - 1})}
    return {
        **flips,
        "all bytes flipped": lambda data: bytes(b ^ 0xFF for b in data),
        "cut in half": lambda data: data[: size // 2],
        "emptied": lambda data: b"",
        "deleted": lambda data: None,
    }


def outcome(run: Path) -> tuple[Any, str | None]:
    """What was restored, or why nothing was."""
    try:
        return restored(run), None
    except StoreError as error:
        return None, str(error)


def spoil(path: Path, damage: Any) -> None:
    data = damage(path.read_bytes())
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)


def test_a_damaged_checkpoint_is_an_error_that_touches_nothing_whichever_file_it_is(
    original: Path, tmp_path: Path
) -> None:
    """Every file of the checkpoint in turn. A file that the arrays do not need may be spoilt: then they are exact."""
    noticed = set()
    for file in sorted(p for p in (original / "checkpoints" / "2").rglob("*") if p.is_file()):
        for number, (what, damage) in enumerate(damages(file.stat().st_size).items()):
            run = shutil.copytree(original, tmp_path / file.name / str(number))
            spoil(run / file.relative_to(original), damage)
            before, where = contents(run), f"{file.relative_to(original)}, {what}"
            found, error = outcome(run)
            if error is None:
                assert same(found, tree(2)), f"{where}: other arrays came back"
            else:
                assert re.fullmatch(r"[^\n]*checkpoints/2[^\n]*", error), where
                assert contents(run) == before, f"{where}: the folder was changed"
                noticed.add(file.relative_to(original / "checkpoints" / "2").as_posix())
            shutil.rmtree(run)
    largest = max((original / "checkpoints" / "2").rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0)
    needed = {"meta/metadata", "tree/manifest.ocdbt", largest.relative_to(original / "checkpoints" / "2").as_posix()}
    assert needed <= noticed


def test_damaged_metadata_of_a_checkpoint_is_an_error_whichever_byte_it_is(run: Path) -> None:
    file = run / "checkpoints" / "2" / "meta" / "metadata"
    sound = file.read_bytes()
    opened = store.open_store(run, CONFIG, resume=True)
    for position in range(len(sound)):
        file.write_bytes(sound[:position] + bytes([sound[position] ^ 1]) + sound[position + 1 :])
        with pytest.raises(StoreError, match="checkpoints/2"):
            checkpoint.restore(opened, 2, tree())
    opened.manager.close()


# whole files or none


def test_a_table_and_json_are_replaced_as_a_whole(tmp_path: Path) -> None:
    table = pd.DataFrame({"row": [1, 2], "score": [0.1 + 0.2, np.nan]})
    store.write_table(tmp_path / "t.csv", table)
    store.write_table(tmp_path / "t.csv", table[:1])
    store.write_json(tmp_path / "j.json", {"a": [1]})
    store.write_json(tmp_path / "j.json", {"b": 2})
    assert (tmp_path / "t.csv").read_text() == "row,score\n1,0.30000000000000004\n"
    assert json.loads((tmp_path / "j.json").read_text()) == {"b": 2}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["j.json", "t.csv"]


def test_a_write_that_is_interrupted_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_json(tmp_path / "j.json", {"old": 1})

    def interrupted(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(Killed):
        store.write_json(tmp_path / "j.json", {"new": 2})
    assert json.loads((tmp_path / "j.json").read_text()) == {"old": 1}
