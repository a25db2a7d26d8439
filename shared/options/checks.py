"""Checks of option values, for the `__post_init__` of a configuration."""

from collections.abc import Iterable

from shared.runtime.errors import UsageError


def option_name(field_name: str) -> str:
    """Return the command-line option of a configuration's field."""
    return "--" + field_name.replace("_", "-")


def check_range(
    config: object,
    names: Iterable[str],
    at_least: float,
    at_most: float = 2**31 - 1,
) -> None:
    """Check that numbers are within a range, or None, which means "not given".

    Args:
        config: a configuration.
        names: its fields to check.
        at_least: the smallest value allowed.
        at_most: the largest value allowed.

    Raises:
        UsageError: a number is outside the range, or is not a number.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and not at_least <= value <= at_most:
            raise UsageError(
                f"{option_name(name)} {value}: must be from {at_least} to {at_most}"
            )
