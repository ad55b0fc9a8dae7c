"""Whatever is in a file: it is read, or refused in one line (`python -m tools.fuzz` has more)."""

import warnings

import pytest

from tools.fuzz.campaign import Fuzzer

# About a quarter of a second each; the long form has thousands.
COUNTS = {'pictures': 60, 'videos': 12, 'csv': 20, 'pts': 200, 'mat': 60, 'bags': 20}


@pytest.mark.parametrize('reader', COUNTS)
def test_a_mutated_file_is_read_or_refused_in_one_line(reader):
    with Fuzzer(reader) as fuzzer, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        outcomes = [fuzzer.read(number) for number in range(COUNTS[reader])]
    assert {*outcomes} <= {'read', 'refused'}, '\n'.join({*outcomes})
    assert 'refused' in outcomes


@pytest.mark.train
@pytest.mark.parametrize('reader', ['graphs', 'checkpoints'])
def test_a_mutated_model_is_read_or_refused_in_one_line(reader):
    with Fuzzer(reader) as fuzzer:
        outcomes = [fuzzer.read(number) for number in range(4)]
    assert {*outcomes} <= {'read', 'refused'}, outcomes
