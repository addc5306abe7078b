"""The package that people install is whole: a campaign runs from the wheel that is made of the source distribution."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CAMPAIGN = """
import al_jax, sys
assert al_jax.__file__.startswith(sys.argv[1]), al_jax.__file__
from al_jax import campaign, lab, testing, vocabulary

digits = vocabulary.dataset("subset(digits, 60)")
posterior, _ = vocabulary.posterior("mc_dropout", digits, "mlp(hidden=(4,))", "adam, steps=2")
settings = campaign.Settings(seeds=1, max_labels=30, num_samples=2)
done = campaign.run(posterior, vocabulary.acquisition("prefilter(bald, 20, core_set())"), digits, settings)
print(len(done.acquired))
"""


def run(*command: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_campaign_runs_from_the_wheel_of_the_source_distribution(tmp_path):
    pip = sys.executable, "-m", "pip", "--disable-pip-version-check"
    for name in ("al_jax", "pyproject.toml", "requirements.txt", "README.md", "LICENSE"):  # a build writes beside them
        run("cp", "-r", str(ROOT / name), str(tmp_path), cwd=ROOT)
    build = "import os; from setuptools import build_meta; os.makedirs('dist'); build_meta.build_sdist('dist')"
    run(sys.executable, "-c", build, cwd=tmp_path)
    (source,) = (tmp_path / "dist").glob("*.tar.gz")
    run(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "dist", str(source), cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    files = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}
    assert files == {str(path.relative_to(ROOT)) for path in (ROOT / "al_jax").rglob("*.py")}
    target = tmp_path / "installed"
    run(*pip, "install", "-q", "--no-deps", "--target", str(target), str(wheel), cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    out = run(sys.executable, "-c", CAMPAIGN, str(target), cwd=elsewhere, PYTHONPATH=str(target))
    assert out.split()[-1] == "30"
