"""`benchmarks/frame_profile.py` finds every stage of the node in a frame."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.ros, pytest.mark.slow]
pytest.importorskip('rclpy', reason='ROS 2 is not installed')

SCRIPT = Path(__file__).resolve().parents[2] / 'benchmarks' / 'frame_profile.py'
STAGES = (
    'receive', 'parameters', 'decode the message', 'track', 'detect', 'crop', 'network',
    'decode the network', 'pose', 'smoothing', 'heads', 'vertices', 'build Heads',
    'build Transform', 'build Mesh', 'build Markers', 'send')


def test_no_stage_takes_no_time(model_pair):
    done = subprocess.run(
        [sys.executable, SCRIPT, '--sizes', '320x240', '--frames', '24', '--mesh', '--model',
         str(model_pair)], capture_output=True, text=True, timeout=300, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    # A stage: the median and the 95th percentile of frames without a detection, and of the others.
    rows = {match[1].strip(): [float(number) for number in match[2].split()]
            for match in re.finditer(r'^(\D+?)((?: +(?:\d+\.\d+|nan)){4})$', done.stdout, re.M)}
    for stage in STAGES:
        assert np.nanmax([rows[stage][1], rows[stage][3]]) > 0, stage
    total, overhead = rows['all'][2], rows['all but the pipeline'][2]
    assert 0 < overhead < total
