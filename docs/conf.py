"""The site of the documentation: `make docs`."""

from pathlib import Path
from xml.etree import ElementTree

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent

project = 'trans3dhead'
author = 'trans3dhead contributors'
release = ElementTree.parse(ROOT / 'package.xml').findtext('version')

extensions = ['myst_parser', 'sphinx.ext.autodoc']
# Pages link to files of the whole checkout, so that they lead somewhere in a repository as well.
root_doc = 'docs/index'
include_patterns = ['docs/**', 'README.md', 'CONTRIBUTING.md', 'CHANGELOG.rst']
exclude_patterns = ['.*', 'build', 'install', 'log', 'out', 'runs']

myst_heading_anchors = 4
highlight_language = 'none'

autodoc_member_order = 'bysource'
autodoc_typehints = 'description'

html_theme = 'furo'
html_title = f'trans3dhead {release}'
html_copy_source = False


def setup(app: Sphinx) -> None:
    """Show blocks of a log, which the tests compare with the code's messages, as plain text."""
    app.add_lexer('log', TextLexer)
