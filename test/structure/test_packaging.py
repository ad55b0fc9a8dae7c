"""What is installed with the packages is what they need, said the same everywhere."""

import importlib.metadata
import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from trans3dhead_ros.cli.missing_package import EXTRAS

ROOT = Path(__file__).resolve().parents[2]
# Python package → its key in rosdep, where that is not `python3-` and the name.
ROSDEP = {'opencv-python-headless': 'opencv', 'pillow': 'pil', 'pyyaml': 'yaml'}


def names(lines: str) -> set[str]:
    """Return the packages of requirement lines, without versions."""
    return {re.split(r'[=<>\[#; ]', line)[0].lower()
            for line in lines.splitlines() if line.strip() and not line.startswith('#')}


@pytest.fixture(scope='module')
def setup_cfg() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / 'setup.cfg')
    return parser


def pinned(group: str) -> set[str]:
    return names((ROOT / 'requirements' / f'{group}.txt').read_text())


def test_the_runtime_installs_what_the_set_up_pins_for_it(setup_cfg):
    assert names(setup_cfg['options']['install_requires']) == pinned('runtime')


@pytest.mark.parametrize(('extra', 'groups'), [
    ('training', ['training', 'torch']), ('cuda', ['torch']), ('viewer', ['viewer']),
    ('docs', ['docs'])])
def test_an_extra_installs_what_the_set_up_pins_for_it(setup_cfg, extra, groups):
    assert names(setup_cfg['options.extras_require'][extra]) == set().union(*map(pinned, groups))


def test_the_demo_sets_up_no_torch():
    demo = re.search(r'^demo:\n\t@\$\(call set_up,(.*)\)$', (ROOT / 'Makefile').read_text(), re.M)
    assert demo[1].split() == ['runtime'] and not pinned('runtime') & pinned('torch')


def test_rosdep_finds_every_key_in_apt():
    keys = {element.text for element in ElementTree.parse(ROOT / 'package.xml').iter()
            if element.tag.endswith('depend')}
    assert not {key for key in keys if key.endswith('-pip') or 'torch' in key}


def test_the_runtime_installs_nothing_that_only_training_needs(setup_cfg):
    runtime = names(setup_cfg['options']['install_requires'])
    assert not runtime & names(setup_cfg['options.extras_require']['training'])


def test_a_missing_package_of_training_is_traced_to_its_extra(setup_cfg):
    modules = {name.replace('-', '_')
               for name in names(setup_cfg['options.extras_require']['training'])}
    assert modules <= {*EXTRAS['training']}


def test_the_ros_package_needs_nothing_of_training(setup_cfg):
    keys = {element.text for element in ElementTree.parse(ROOT / 'package.xml').iter()
            if element.tag.endswith('depend')}
    training = names(setup_cfg['options.extras_require']['training'])
    assert not keys & {f'python3-{ROSDEP.get(name, name)}' for name in training}
    assert 'python3-numpy' in keys


def test_the_version_is_only_in_package_xml(setup_cfg):
    training = ConfigParser()
    training.read(ROOT / 'setup_training.cfg')
    assert not training.has_section('options.entry_points')
    assert 'version' not in setup_cfg['metadata'] and 'version' not in training['metadata']
    version = ElementTree.parse(ROOT / 'package.xml').findtext('version')
    assert importlib.metadata.version('trans3dhead_ros') == version


def test_package_xml_is_what_the_tools_of_a_release_accept():
    package = pytest.importorskip('catkin_pkg.package', reason='catkin_pkg is not installed')
    warnings = []
    found = package.parse_package(str(ROOT / 'package.xml'), warnings=warnings)
    found.validate(warnings=warnings)
    assert not warnings
    assert {url.type for url in found.urls} == {'website', 'repository', 'bugtracker'}
    assert found.authors and found.maintainers


def test_every_licence_of_package_xml_is_a_file():
    licences = {element.text: ROOT / element.get('file')
                for element in ElementTree.parse(ROOT / 'package.xml').iter('license')}
    assert all(path.is_file() for path in licences.values())
    assert 'TRANS3DHEAD_RESEARCH_WEIGHTS' in licences['LicenseRef-research-weights'].read_text()


def test_a_release_finds_the_changes_since_the_last_one():
    changelog = (ROOT / 'CHANGELOG.rst').read_text()
    assert re.search(r'^Forthcoming\n-+\n(\* |\n\d)', changelog, re.M) or re.search(
        rf'^{ElementTree.parse(ROOT / "package.xml").findtext("version")} \(', changelog, re.M)


def test_what_only_the_owner_can_fill_in_is_in_package_xml():
    if not shutil.which('git') or not (ROOT / '.git').exists():
        pytest.skip('not a git checkout')
    done = subprocess.run(['git', 'grep', '-Inh', r'trans3dhead\.example'], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if "r'trans3dhead" not in line]
    assert not [line for line in lines if not re.search(r':  <(maintainer|url) ', line)]
    if lines:
        left = re.findall(r'<(\w+(?: type="\w+")?)', '\n'.join(lines))
        pytest.skip(f'left for the owner to fill in, in package.xml: {", ".join(left)}')


@pytest.mark.parametrize('package', ['trans3dhead_ros', 'trans3dhead_training'])
def test_every_folder_of_code_is_found_by_setuptools(package):
    setuptools = pytest.importorskip('setuptools')
    found = {ROOT.joinpath(*name.split('.'))
             for name in setuptools.find_packages(str(ROOT), include=[f'{package}*'])}
    assert found == {path for file in (ROOT / package).rglob('*.py')
                     for path in file.parents if ROOT / package in (path, *path.parents)}
