"""``functools.cached_property`` without the lock that it has before Python 3.12.

That lock is one for all objects of a class: threads wait for each other, and a process that is forked while another
thread holds it waits for ever. Without it two threads may compute a value twice, of which both are the same.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

__all__ = ["cached_property"]

if TYPE_CHECKING or sys.version_info >= (3, 12):
    from functools import cached_property
else:

    class cached_property:  # noqa: N801 -- the name that it stands in for
        """An attribute that is computed at its first access, and kept in the object."""

        def __init__(self, function):
            self._function = function
            self.__doc__ = function.__doc__

        def __set_name__(self, owner, name):
            self._name = name

        def __get__(self, instance, owner=None):
            if instance is None:
                return self
            value = self._function(instance)
            return vars(instance).setdefault(self._name, value)
