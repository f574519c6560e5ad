"""A step's call and its result as JSON, made from the annotations of its function.

Design rule: what crosses a process or a restart is plain JSON, turned back into values by the types that the function
itself declares; nothing is pickled.
"""

import importlib
import inspect
import typing
from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter


def reference_of(function: Callable[..., Any]) -> str:
    """Return ``module:name``, by which another process finds the same function.

    Raises
    ------
    TypeError
        The function is not importable by name (a lambda, a closure, a method).
    """
    reference = f"{function.__module__}:{function.__qualname__}"
    if "<" in reference or resolve(reference) is not function:
        raise TypeError(f"{reference} cannot be a step: it must be a function at the top level of its module.")
    return reference


def resolve(reference: str) -> Callable[..., Any]:
    """Import the function that ``module:name`` stands for."""
    module, _, name = reference.partition(":")
    target: Any = importlib.import_module(module)
    for part in name.split("."):
        target = getattr(target, part)
    if not callable(target):
        raise TypeError(f"{reference} is no function.")
    function: Callable[..., Any] = target
    return function


def dump_arguments(function: Callable[..., Any], arguments: tuple[Any, ...]) -> list[Any]:
    """Turn positional ``arguments`` into JSON values.

    Raises
    ------
    TypeError
        The function does not take so many arguments.
    """
    adapters = _argument_adapters(function, len(arguments))
    return [adapter.dump_python(value, mode="json") for adapter, value in zip(adapters, arguments, strict=True)]


def load_arguments(function: Callable[..., Any], values: list[Any]) -> tuple[Any, ...]:
    """Turn what `dump_arguments` made back into arguments."""
    adapters = _argument_adapters(function, len(values))
    return tuple(adapter.validate_python(value) for adapter, value in zip(adapters, values, strict=True))


def dump_result(function: Callable[..., Any], result: object) -> Any:
    """Turn the result of ``function`` into a JSON value."""
    return _result_adapter(function).dump_python(result, mode="json")


def load_result(function: Callable[..., Any], value: Any) -> Any:
    """Turn what `dump_result` made back into a result."""
    return _result_adapter(function).validate_python(value)


def _argument_adapters(function: Callable[..., Any], count: int) -> list[TypeAdapter[Any]]:
    hints = typing.get_type_hints(function, include_extras=True)
    bound = inspect.signature(function).bind(*range(count))
    adapters: list[TypeAdapter[Any]] = []
    for name, position in bound.arguments.items():  # The value of *args is the tuple of their positions.
        adapters += [TypeAdapter(hints[name])] * (len(position) if isinstance(position, tuple) else 1)
    return adapters


def _result_adapter(function: Callable[..., Any]) -> TypeAdapter[Any]:
    hints = typing.get_type_hints(function, include_extras=True)
    if "return" not in hints:
        raise TypeError(f"{function.__qualname__} cannot be a step: its result has no annotation.")
    return TypeAdapter(hints["return"])
