"""Lets `pip install .` work; all it needs to know is in setup.cfg, which colcon reads too."""

from setuptools import setup

setup()
