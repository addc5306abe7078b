"""What the README shows works as it is shown."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_every_example_runs(block, capsys):
    exec(compile(block, str(README), "exec"), {})
    if "print(" in block:
        assert "bald" in capsys.readouterr().out


def test_there_are_examples():
    assert len(BLOCKS) == 3
