"""The variants that are compared, as overrides of one base configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trans3dhead_ros.errors import UserError

BASE = 'base'


@dataclass(frozen=True)
class Variant:
    """One configuration that is trained."""

    name: str
    """Name of the variant and of its folder."""
    overrides: tuple[str, ...] = ()
    """`key=value` on top of the base configuration."""


@dataclass(frozen=True)
class Family:
    """The variants of one part of the method."""

    name: str
    """Name for the command line."""
    title: str
    """Title of the table."""
    rows: tuple[tuple[str, Variant], ...]
    """Labels and variants in the order of the table; the base is in every family."""
    reference: str = BASE
    """Name of the variant that the others are compared with."""


def _euler(form: str) -> Variant:
    # Without the term on the matrix, as in the paper: beside it the Euler term has little to do.
    return Variant(f'euler_{form}', ('loss_weights.rotation=0', f'euler_loss={form}'))


_BASE = Variant(BASE)
FAMILIES = (
    Family('qamem', 'Query-aware memory', (
        ('off', Variant('qamem_none', ('network.qamem=none',))),
        ('shared per family', Variant('qamem_family', ('network.qamem=family',))),
        ('grouped (base)', _BASE),
        ('full', Variant('qamem_full', ('network.qamem=full',))),
    )),
    Family('marr', 'Residual regression layer by layer', (
        ('off', Variant('marr_off', ('network.marr=false',))),
        ('from the mean', Variant('marr_mean', ('network.reference=mean',))),
        ('from the posed mean (base)', _BASE),
    )),
    Family('euler', 'Euler-angle loss, without the term on the matrix', (
        ('none', _euler('none')),
        ('plain', _euler('plain')),
        ('safe', _euler('safe')),
        ('geodesic', _euler('geodesic')),
        ('safe and matrix (base)', _BASE),
    ), reference='euler_none'),
    Family('consistency', 'Consistency between the branches', (
        ('off', Variant('consistency_off', ('loss_weights.consistency=0',))),
        ('on (base)', _BASE),
    )),
    Family('encoder', 'Encoder layers', (
        ('0 (base)', _BASE),
        ('1', Variant('encoder_1', ('network.encoder_layers=1',))),
    )),
    Family('stride', 'Stride of the tokens', (
        ('16 (base)', _BASE),
        ('32', Variant('stride_32', ('network.stride=32', 'network.widths=[16,32,64,128,192]',
                                     'network.blocks=[1,1,2,1]'))),
    )),
    Family('branches', 'Decoder branches', (
        ('one', Variant('one_branch', ('network.two_branches=false',))),
        ('two (base)', _BASE),
    )),
    Family('decoder', 'Decoder layers of a branch', (
        ('1', Variant('decoder_1', ('network.decoder_layers=1',))),
        ('2 (base)', _BASE),
        ('4', Variant('decoder_4', ('network.decoder_layers=4',))),
    )),
)


def all_variants() -> tuple[Variant, ...]:
    """Return every distinct variant once, the base first."""
    found = {BASE: _BASE}
    for family in FAMILIES:
        found.update({variant.name: variant for _, variant in family.rows})
    return tuple(found.values())


def chosen_variants(names: Sequence[str]) -> tuple[Variant, ...]:
    """
    Return the base and the named variants.

    :param names: of variants or families; none: all variants.
    :return: distinct variants, the base first.
    :raises UserError: an unknown name.
    """
    known = {variant.name: {variant.name} for variant in all_variants()}
    known.update({family.name: {variant.name for _, variant in family.rows}
                  for family in FAMILIES})
    for name in names:
        if name not in known:
            raise UserError(f'--variants: {name!r} is unknown; use some of {", ".join(known)}')
    wanted = {BASE}.union(*(known[name] for name in names)) if names else None
    return tuple(variant for variant in all_variants() if wanted is None or variant.name in wanted)
