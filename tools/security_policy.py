"""The SROS 2 policy file with the permissions that the node needs."""

from __future__ import annotations

from xml.etree import ElementTree

from tools.node_interface import NODE, Endpoint, TrackerInterface

_COMMENT = """
  The permissions that {node} needs and no others, for names without remappings in an empty
  namespace. Written by `python -m tools.api_docs` from the running node. docs/security.md
  describes how to use it, and what to change for remappings, a namespace or several cameras.
"""


def policy_file(tracker: TrackerInterface) -> str:
    """Return the policy (format 0.2.0 of sros2), with one enclave for the node."""
    policy = ElementTree.Element('policy', version='0.2.0')
    enclave = ElementTree.SubElement(
        ElementTree.SubElement(policy, 'enclaves'), 'enclave', path=f'/{NODE}')
    profile = ElementTree.SubElement(
        ElementTree.SubElement(enclave, 'profiles'), 'profile', ns='/', node=NODE)
    both = (tracker.whole, tracker.compressed)
    for group, rule, ends in (
            ('topics', 'subscribe', [end for one in both for end in one.subscribes]),
            ('topics', 'publish', [end for one in both for end in one.publishes]),
            ('services', 'reply', [end for one in both for end in one.serves])):
        _allow(profile, group, rule, ends)
    ElementTree.indent(policy)
    return '\n'.join((
        '<?xml version="1.0" encoding="UTF-8"?>', f'<!--{_COMMENT.format(node=NODE)}-->',
        ElementTree.tostring(policy, encoding='unicode'), ''))


def _allow(profile: ElementTree.Element, group: str, rule: str, ends: list[Endpoint]) -> None:
    element = ElementTree.SubElement(profile, group, {rule: 'ALLOW'})
    for name in sorted({end.name for end in ends}):
        ElementTree.SubElement(element, group.removesuffix('s')).text = name
