"""Publishers whose QoS the user may override: `qos_overrides.<topic>.publisher.<policy>`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.qos import QoSPolicyKind, QoSProfile
from rclpy.qos_overriding_options import InvalidQosOverridesError, QoSOverridingOptions

from trans3dhead_ros.errors import UserError

PREFIX = 'qos_overrides.'
"""Start of the names of the parameters."""
_POLICIES = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY,
             QoSPolicyKind.DURABILITY)
_MAX_DEPTH = 10_000


def create_overridable(
    create: Callable[..., Any], kind: type, topic: str, qos: QoSProfile,
) -> Any:
    """
    Create a publisher and declare the parameters that override its QoS.

    :param create: `create_publisher` or `create_lifecycle_publisher` of a node.
    :param kind: class of the messages.
    :param topic: name of the topic.
    :param qos: the profile without overrides.
    :return: the publisher.
    :raises UserError: for an override that is not allowed.
    """
    # rclpy changes the profile that it is given.
    qos = copy.copy(qos)
    try:
        return create(kind, topic, qos, qos_overriding_options=QoSOverridingOptions(
            _POLICIES, callback=_check))
    except (ParameterException, InvalidQosOverridesError) as error:
        raise UserError(f'{PREFIX}{topic}.publisher: {error}') from None
    except RuntimeError as error:
        # The class that rclpy raises for an unknown name of a policy.
        if 'QoS override' not in str(error):
            raise
        raise UserError(f'{PREFIX}{topic}.publisher: {error}') from None


def _check(qos: QoSProfile) -> SetParametersResult:
    return SetParametersResult(
        successful=0 < qos.depth <= _MAX_DEPTH, reason=f'depth: 1 to {_MAX_DEPTH}')
