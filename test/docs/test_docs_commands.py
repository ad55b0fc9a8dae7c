"""Commands that the pages name exist, with the options that they are given."""

import io
import re
import shlex
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path

import pytest

from trans3dhead_ros.cli.main import PREPARE, RUNTIME, TRAINING, main

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *ROOT.glob('docs/*.md'),
                *ROOT.glob('benchmarks/*.md')])
TEXTS = {page: page.read_text() for page in PAGES}
TARGETS = set(re.findall(r'^(\w+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
COMMANDS = {*RUNTIME, *TRAINING, *(f'prepare {name}' for name in PREPARE)}


def code(text: str) -> list[str]:
    """Return the lines of blocks of code and what stands between backticks."""
    blocks = re.findall(r'^```(?:sh)?\n(.*?)^```$', text, re.DOTALL | re.MULTILINE)
    blocks += re.findall(r'(?:^    .*\n)+', text, re.MULTILINE)
    lines = [line.strip() for block in blocks
             for line in block.replace('\\\n', ' ').splitlines()]
    return lines + [' '.join(span.split()) for span in re.findall(r'`([^`]+)`', text)]


def commands(text: str) -> list[list[str]]:
    """Return the words behind `trans3dhead` of every line of code that runs it."""
    found = []
    for line in code(text):
        run = re.match(r'(?:\$ )?(?:\.venv/bin/|ros2 run trans3dhead )?trans3dhead (.*)', line)
        if run:
            words = shlex.split(run[1].split(' #')[0].replace("'s", ''), comments=True)
            found.append(words)
    return found


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_targets_of_make_exist(page):
    lines = [line for line in code(TEXTS[page]) if line.startswith('make ')]
    named = {word for line in lines for word in line.split('&&')[0].split('#')[0].split()[1:]
             if re.fullmatch(r'[a-z]+', word)}
    assert named <= TARGETS


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_modules_that_are_run_exist(page):
    for name in re.findall(r'python3? -m ((?:tools|trans3dhead_\w+)[\w.]*)', TEXTS[page]):
        assert find_spec(name.rstrip('.')), name


@pytest.fixture(scope='module')
def known_options() -> dict[str, set[str]]:
    """Return the options that each subcommand's --help lists."""
    options = {}
    for command in COMMANDS - {'node'}:
        shown = io.StringIO()
        with redirect_stdout(shown), pytest.raises(SystemExit):
            main([*command.split(), '--help'])
        options[command] = set(re.findall(r'(?<![\w-])--?[a-z][\w-]*', shown.getvalue()))
    return options


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_subcommands_and_their_options_exist(page, known_options):
    for words in commands(TEXTS[page]):
        name = ' '.join(words[:2]) if words[:1] == ['prepare'] and words[1:] else words[0]
        if name in ('…', 'COMMAND', '--help', 'prepare', 'prepare …') or not name.islower():
            continue
        assert name in COMMANDS, words
        if name != 'node':
            given = {word.split('=')[0] for word in words if re.match(r'--?[a-z]', word)}
            assert given <= known_options[name], words
