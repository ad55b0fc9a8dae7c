"""Links of the pages lead somewhere, and quoted messages are those of the code."""

import re
from pathlib import Path

import pytest
from message_templates import Printer

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *ROOT.glob('docs/*.md'),
                *ROOT.glob('benchmarks/*.md')])
FENCED = re.compile(r'^```.*?^```$', re.DOTALL | re.MULTILINE)
# [text](target) and ![text](target), also over the end of a line.
LINK = re.compile(r'\[[^\]]*\]\(([^)\s]+)\)')


def anchors(page: Path) -> set[str]:
    """Return what GitHub calls the headings of a page."""
    found: set[str] = set()
    for title in re.findall(r'^#+ +(.*?)#*$', FENCED.sub('', page.read_text()), re.MULTILINE):
        shown = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', title).replace('`', '').strip().lower()
        base = ''.join(c for c in shown.replace(' ', '-') if c.isalnum() or c in '-_')
        number, name = 0, base
        while name in found:
            number += 1
            name = f'{base}-{number}'
        found.add(name)
    return found


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    broken = []
    for link in LINK.findall(FENCED.sub('', page.read_text())):
        if '://' in link or link.startswith('mailto:'):
            continue
        path, _, anchor = link.partition('#')
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_every_page_of_the_docs_is_reached_from_the_readme():
    reached, waiting = set(), [ROOT / 'README.md']
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        links = LINK.findall(FENCED.sub('', page.read_text()))
        waiting += [target for link in links if (target := (
            page.parent / link.partition('#')[0]).resolve()).suffix == '.md' and target.is_file()]
    assert not [page.name for page in PAGES if page not in reached and page.parent.name == 'docs']


def test_every_page_of_the_docs_is_in_the_contents_of_the_site():
    contents = re.findall(r'^```{toctree}\n(.*?)^```$', (ROOT / 'docs' / 'index.md').read_text(),
                          re.DOTALL | re.MULTILINE)
    listed = {re.sub(r'.*<(.*)>', r'\1', line) for part in contents for line in part.splitlines()
              if line[:1] not in (':', '')}
    assert listed == {page.stem for page in ROOT.glob('docs/*.md')} - {'index'} | {
        '../README', '../CONTRIBUTING', '../CHANGELOG'}


def test_quoted_messages_are_those_of_the_code():
    printer = Printer(ROOT / 'trans3dhead_ros')
    lines = [line for page in PAGES
             for box in re.findall(r'^```log\n(.*?)^```$', page.read_text(),
                                   re.DOTALL | re.MULTILINE)
             for line in box.splitlines()]
    assert len(lines) > 20
    assert not [line for line in lines if not printer.could_print(line)]


@pytest.mark.parametrize('line', [
    '[WARN] [head_tracker]: no picture for 5 s on /image_raw: no publisher',
    '[WARN] [head_tracker]: no image for 5 s on /image_raw: one publisher',
    'bad image dropped (1 so far): the sky is blue',
])
def test_a_message_that_the_code_does_not_have_is_found(line):
    assert not Printer(ROOT / 'trans3dhead_ros').could_print(line)
