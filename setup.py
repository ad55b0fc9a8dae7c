"""Lets `pip install .` work: the version is that of package.xml, all else is in setup.cfg."""

from pathlib import Path
from xml.etree import ElementTree

from setuptools import setup

setup(version=ElementTree.parse(Path(__file__).with_name('package.xml')).findtext('version'))
