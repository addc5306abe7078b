"""What README and the site show works as it is shown: code runs, commands can be read, links lead somewhere."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import tyro

from experiments.catalogue.pages import drawn, pages
from experiments.experiment import Experiment, texts
from experiments.run import Options

ROOT = Path(__file__).parent.parent
GENERATED = {ROOT / "docs" / name for name in ("atlas.md", "reproductions.md", "contributing.md")}
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(
        page
        for page in (ROOT / "docs").rglob("*.md")
        if page not in GENERATED and page.parent != ROOT / "docs" / "catalogue"
    ),
]
BLOCK = re.compile(
    r"(<!-- not run: (?P<why>[^>]+) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE
)


class Block(NamedTuple):
    """A piece of code on a page, and why it is not run, where it is not."""

    language: str
    code: str
    why: str | None


def blocks(page: Path, language: str) -> list[Block]:
    found = (Block(m["language"], m["code"], m["why"]) for m in BLOCK.finditer(page.read_text()))
    return [block for block in found if block.language == language]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_the_code_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict = {"__name__": "__main__"}
    for block in blocks(page, "python"):
        if block.why is None:
            exec(compile(block.code, str(page), "exec"), namespace)
        else:
            compile(block.code, str(page), "exec")


def commands(page: Path) -> list[tuple[str, str | None]]:
    """Every `python -m` of a page, as one line, and why it is not run."""
    found = []
    for block in blocks(page, "bash"):
        for line in block.code.replace("\\\n", " ").splitlines():
            found += [(part.strip(' "'), block.why) for part in re.findall(r"python -m (.*?)(?=&&|\"?$)", line)]
    return found


COMMANDS = [(page, command, why) for page in PAGES for command, why in commands(page)]
RUNS = [
    (command.removeprefix("experiments.run"), why)
    for _, command, why in COMMANDS
    if command.startswith("experiments.run")
]
IN_SHELL = {"$((4 * SLURM_ARRAY_TASK_ID))": "0", "--process-id I": "--process-id 0"}


@pytest.mark.parametrize(("page", "command", "why"), COMMANDS, ids=lambda value: str(value)[-60:])
def test_every_command_is_of_a_module_that_there_is(page, command, why):
    assert importlib.util.find_spec(command.split()[0]) is not None


@pytest.mark.parametrize(("command", "why"), RUNS, ids=lambda value: str(value))
def test_every_campaign_can_be_read(command, why):
    for written, meant in IN_SHELL.items():
        command = command.replace(written, meant)
    experiment, _ = tyro.cli(
        tuple[tyro.conf.OmitArgPrefixes[Experiment], tyro.conf.OmitArgPrefixes[Options]], args=shlex.split(command)
    )
    assert all(texts(experiment).values())


@pytest.mark.parametrize("command", dict.fromkeys(command for command, why in RUNS if why is None))
def test_every_campaign_runs(command, tmp_path, environment):
    words = [sys.executable, "-m", "experiments.run", *shlex.split(command), "--results-dir", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "results:" in done.stdout
    assert len(list(tmp_path.glob("run/*/rounds.csv"))) == 1


def test_what_readme_needs_to_say_is_on_two_screens():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 180
    assert len(blocks(ROOT / "README.md", "python")) == 3
    assert len(RUNS) >= 9


LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"], ids=name_of
)
def test_links_lead_to_files(page):
    for link in LINK.findall(page.read_text()):
        assert (page.parent / link).exists(), link


def test_the_catalogue_is_that_of_the_public_names():
    """`python -m experiments.catalogue` writes it; the pages have every name, and a picture of what can be drawn."""
    folder = ROOT / "docs" / "catalogue"
    written = pages()
    assert {path.name for path in folder.glob("*.md")} == set(written)
    for name, text in written.items():
        assert (folder / name).read_text() == text, f"{name}: run python -m experiments.catalogue"
    shown = set(re.findall(r"pictures/(\w+)\.png", written["acquisitions.md"]))
    assert {path.stem for path in (folder / "pictures").iterdir()} == shown
    assert all(map(drawn, shown))


def test_the_site_is_built_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    for page in ("index.html", "catalogue/acquisitions/index.html", "notebooks/batch_methods/index.html"):
        assert (tmp_path / page).exists()
    badge = (tmp_path / "catalogue/acquisitions/index.html").read_text()
    assert "k-means++ on last-layer gradients" in badge, "docstrings are on the page"


def test_no_tracked_file_is_large():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    sizes = {name: (ROOT / name).stat().st_size for name in listed.split("\0") if name and (ROOT / name).is_file()}
    assert max(sizes.values()) <= 500 * 1024, max(sizes, key=lambda name: sizes[name])
