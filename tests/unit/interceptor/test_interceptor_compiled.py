"""What may be compiled: a list that the compiler can take, and nobody claims what is not so."""

import importlib
import os
import pkgutil

import burnish_interceptor
from burnish.errors import BurnishError
from burnish_interceptor.compiled import MODULES, compiled


def classes():
    """Returns every class of the package."""
    found = set()
    for one in pkgutil.walk_packages(burnish_interceptor.__path__, "burnish_interceptor."):
        if one.name.endswith("__main__"):
            continue
        module = importlib.import_module(one.name)
        found |= {
            value
            for value in vars(module).values()
            if isinstance(value, type) and value.__module__ == module.__name__
        }
    return found


def test_the_sources_run_unless_the_compiled_copy_is_asked_for():
    assert compiled() is ("BURNISH_TEST_COMPILED" in os.environ)


def test_what_derives_from_a_compiled_class_is_compiled_too():
    outside = {
        f"{one.__module__}.{one.__qualname__}"
        for one in classes()
        if one.__module__ not in MODULES
        and any(base.__module__ in MODULES and base is not one for base in one.__mro__)
    }
    assert outside == set()


def test_no_compiled_class_derives_from_an_error_of_the_suite():
    # The compiler gives it another shape than its base has: raising it ends the process.
    assert [
        one for one in classes() if one.__module__ in MODULES and issubclass(one, BurnishError)
    ] == []


def test_every_module_that_is_named_is_there():
    assert sorted(set(MODULES)) == list(MODULES)
    for name in MODULES:
        importlib.import_module(name)
