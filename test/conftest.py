"""Keeps the ROS graph of a test run to itself, so that runs beside each other never meet."""

import os
import random

# Up to 101, DDS ports stay clear of the ports that Linux gives out by itself.
os.environ['ROS_DOMAIN_ID'] = str(random.SystemRandom().randint(1, 101))
if os.environ.get('ROS_DISTRO') == 'humble':
    os.environ['ROS_LOCALHOST_ONLY'] = '1'
else:
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
