"""What the README shows works as it is shown."""

import re
import shlex
from pathlib import Path

import pytest
import tyro

from experiments.experiment import Experiment, texts
from experiments.run import Options

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_every_example_runs(block, capsys):
    exec(compile(block, str(README), "exec"), {})
    if "print(" in block:
        assert "bald" in capsys.readouterr().out


COMMANDS = [
    shlex.split(command.replace("\\\n", " "))
    for block in re.findall(r"```bash\n(.*?)```", README.read_text(), flags=re.DOTALL)
    for command in re.findall(r"-m experiments\.run (.*?)\"?(?<!\\)\n", block, flags=re.DOTALL)
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_of_the_command_line_can_be_read(command):
    command = ["0" if word == "I" else word for word in command]
    experiment, _ = tyro.cli(
        tuple[tyro.conf.OmitArgPrefixes[Experiment], tyro.conf.OmitArgPrefixes[Options]], args=command
    )
    assert all(texts(experiment).values())


def test_there_are_examples():
    assert len(BLOCKS) == 4
    assert len(COMMANDS) >= 9
