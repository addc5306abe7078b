"""A person in a browser: headless Chromium runs a notebook in JupyterLab and clicks the widget through a round."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium, which drives the browser, is not installed")
pytest.importorskip("jupyterlab", reason="jupyterlab, which serves the notebook, is not installed")
from selenium.common.exceptions import WebDriverException  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not on the PATH")
SECONDS = 120  # on a machine that has other things to do

FLAGS = ["headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
FLAGS += ["disable-component-update", "disable-sync", "window-size=1000,900"]
LOCAL = ["--no-browser", "--allow-root", "--ip=127.0.0.1", "--IdentityProvider.token="]
QUESTIONS = "@jupyterlab/apputils-extension:announcements"  # "Would you like to get notified ...", above the buttons

NOTEBOOK = """
import optax

from al_jax import data, lab, models, posteriors
from al_jax.acquisitions import entropy, top_k
from al_jax.campaign import Settings
from al_jax.likelihood import categorical
from al_jax.training import Training

training = Training(optax.adam(1e-3), steps=100)
posterior = posteriors.point(models.MLP(10, mean=4.9, std=6.0), categorical(), training)
settings = Settings(seeds=1, batch_size=3, max_labels=100)
person = lab.labelling(posterior, top_k(entropy), data.load("digits"), settings, "results")
lab.label(person)
"""


@pytest.fixture
def address(tmp_path: Path, environment: dict[str, str]) -> Iterator[str]:
    """Of the notebook, served by JupyterLab."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(NOTEBOOK.strip())]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), tmp_path / "label.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {f"JUPYTER_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "RUNTIME")}
    (tmp_path / "CONFIG" / "labconfig").mkdir(parents=True)
    (tmp_path / "CONFIG" / "labconfig" / "page_config.json").write_text(
        json.dumps({"disabledExtensions": {QUESTIONS: True}})
    )
    command = [sys.executable, "-m", "jupyterlab", f"--port={port}", *LOCAL]
    with (tmp_path / "jupyter.log").open("w") as log:
        server = subprocess.Popen(command, cwd=tmp_path, env=environment | own, stdout=log, stderr=log)
    yield f"http://127.0.0.1:{port}/doc/tree/label.ipynb"
    server.terminate()
    server.wait(SECONDS)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator["webdriver.Chrome"]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(f"--{flag}")
    browser = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield browser
    browser.quit()


def test_a_person_clicks_through_a_round_and_the_campaign_continues(
    address: str, browser: "webdriver.Chrome", tmp_path: Path
) -> None:
    def text() -> str:
        return browser.find_element(By.TAG_NAME, "body").text

    def until(*expected: str) -> None:
        waiting = WebDriverWait(browser, SECONDS, ignored_exceptions=[WebDriverException])
        waiting.until(lambda _: all(part in text() for part in expected), f"{expected} is not in:\n{text()}")

    def click(button: str) -> None:
        browser.find_element(By.XPATH, f"//button[normalize-space()='{button}']").click()

    def events() -> list[dict[str, object]]:
        return [json.loads(line) for line in (tmp_path / "results" / "answers.jsonl").open()]

    def opened(_: object) -> bool:
        browser.get(address)
        return True

    WebDriverWait(browser, SECONDS, ignored_exceptions=[WebDriverException]).until(opened)
    until("lab.label(person)", "Idle")
    browser.find_element(By.CSS_SELECTOR, ".cm-content").send_keys(Keys.CONTROL, Keys.ENTER)
    until("1 of 3 in round 0; 20 labels, accuracy ", "Skip")
    (asked,) = events()
    first, second, third = asked["asked"]
    until(f"row {first} of the pool")

    click("7")
    until("2 of 3 in round 0", f"row {second} of the pool")
    assert events()[1:] == [{"round": 0, "row": first, "label": 7}], "on the disk at once"
    click("Skip")
    until("3 of 3 in round 0", f"row {third} of the pool")
    click("Undo")
    until("2 of 3 in round 0")
    click("1")
    until("3 of 3 in round 0")
    click("9")
    until("1 of 3 in round 1; 23 labels, accuracy ")

    after = events()
    assert [event.get("label") for event in after[1:]] == [7, None, None, 1, 9, None, None]
    assert after[-2] == {"round": 0, "closed": True}
    until(f"row {after[-1]['asked'][0]} of the pool")
    browser.save_screenshot(str(tmp_path / "screenshot.png"))
