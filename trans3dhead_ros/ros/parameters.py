"""
Declare the ROS parameters of a node by a frozen dataclass: each field is one parameter.

The field gives name and default, `parameter` the range, and the string below the field is the
description that `ros2 param describe` shows.

Example::

    @dataclass(frozen=True)
    class TalkerParameters:
        rate: float = parameter(1.0, bounds=(0.1, 100.0))
        '''Rate of the messages, Hz.'''

    declare_parameters(node, parameter_specs(TalkerParameters).values())
    read_parameters(node, TalkerParameters).rate
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.field_docs import field_docs

Parameters = TypeVar('Parameters')


@dataclass(frozen=True)
class ParameterSpec:
    """Declaration of one parameter."""

    name: str
    """Parameter name, without the node name."""
    default: Any
    """Default value; it also fixes the type, unless `choices` have several."""
    description: str
    """What the parameter does, with its unit."""
    bounds: tuple[float, float] | None = None
    """Inclusive range of a number; None: any."""
    choices: tuple[Any, ...] = ()
    """Allowed values; empty: any."""
    read_only: bool = False
    """Whether the value is fixed when the node starts."""
    any_type: bool = False
    """Whether values of every type are accepted."""
    check: Callable[[Any], str] | None = None
    """Further check of a value: returns why it is refused, empty where it is not."""
    inherit: Any = None
    """Value of a camera's override that means "as for all cameras"; None: there is no override."""

    def descriptor(self) -> ParameterDescriptor:
        """Return the message that describes the parameter to other nodes."""
        descriptor = ParameterDescriptor(
            name=self.name, description=self.description, read_only=self.read_only,
            dynamic_typing=self.any_type)
        if self.choices:
            descriptor.additional_constraints = 'one of: ' + ', '.join(
                str(choice).lower() or "''" for choice in self.choices)
            descriptor.dynamic_typing = len({type(choice) for choice in self.choices}) > 1
        if self.bounds:
            low, high = self.bounds
            if isinstance(self.default, int):
                descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
            else:
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=low, to_value=high)]
        return descriptor

    def refusal(self, value: Any) -> str:
        """
        Return why a value is refused, empty where it is allowed.

        Type and bounds are checked by rclpy.
        """
        if self.choices and not any(value == choice and type(value) is type(choice)
                                    for choice in self.choices):
            return f'{value!r} is not {self.descriptor().additional_constraints}'
        if isinstance(value, float) and not math.isfinite(value):
            return f'{value} is not a finite number'
        return self.check(value) if self.check else ''


def parameter(default: Any, **declaration: Any) -> Any:
    """
    Declare a parameter as a field of a dataclass.

    :param default: its default; a list is copied for each instance.
    :param **declaration: further fields of `ParameterSpec`.
    :return: the field.
    """
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata=declaration)
    return field(default=default, metadata=declaration)


def config_parameter(config: type, name: str, **declaration: Any) -> Any:
    """
    Declare a parameter that sets a field of a configuration.

    :param config: the configuration's dataclass, which has default and description.
    :param name: of its field.
    :param **declaration: further fields of `ParameterSpec`.
    :return: the field.
    """
    description = field_docs(config)[name]
    return parameter(getattr(config, name), description=description, **declaration)


def parameter_specs(parameters: type) -> dict[str, ParameterSpec]:
    """
    Return the declaration of every parameter.

    :param parameters: dataclass whose fields are parameters.
    :return: by name, in the order of the fields.
    """
    docs = field_docs(parameters)
    return {entry.name: ParameterSpec(**{
        'name': entry.name, 'description': docs.get(entry.name, ''),
        'default': entry.default_factory() if entry.default is MISSING else entry.default,
        **entry.metadata}) for entry in fields(parameters)}


def declare_parameters(node: Node, specs: Iterable[ParameterSpec]) -> None:
    """
    Declare parameters, whose values are checked now and whenever somebody sets them.

    :param node: the node that gets them.
    :param specs: their declarations.
    :raises UserError: for a value of the command line or of a file that is not allowed; the message
        names the parameter.
    """
    by_name = {spec.name: spec for spec in specs}

    def check(values: Sequence[Parameter]) -> SetParametersResult:
        # Without side effects: another callback may still refuse.
        for value in values:
            if value.name in by_name and (reason := by_name[value.name].refusal(value.value)):
                return SetParametersResult(successful=False, reason=f'{value.name}: {reason}')
        return SetParametersResult(successful=True)

    # Registered first, so that the initial values are checked as well.
    node.add_on_set_parameters_callback(check)
    for spec in by_name.values():
        try:
            node.declare_parameter(spec.name, spec.default, spec.descriptor())
        except Exception as error:
            # rclpy has one class for a wrong value and another for a wrong type.
            if type(error).__name__.startswith('InvalidParameter'):
                raise UserError(f'parameter {spec.name}: {error}') from None
            raise


def undeclared_parameters(node: Node) -> dict[str, str]:
    """
    Return the parameters of the command line or of a file that a node does not declare.

    :param node: the node, after it has declared its parameters.
    :return: by name, the nearest declared name; empty where none is near.
    """
    declared = sorted(node.get_parameters_by_prefix(''))
    # rclpy has no public access to the overrides that a node was given.
    given = getattr(node, '_parameter_overrides', {})
    return {name: next(iter(difflib.get_close_matches(name, declared, n=1)), '')
            for name in sorted(given) if not node.has_parameter(name)}


def read_parameters(node: Node, parameters: type[Parameters]) -> Parameters:
    """
    Read the values of declared parameters; cheap enough for every frame.

    :param node: the node that has them.
    :param parameters: dataclass whose fields are parameters.
    :return: an instance with the present values.
    """
    return parameters(**{entry.name: node.get_parameter(entry.name).value
                         for entry in fields(parameters)})
