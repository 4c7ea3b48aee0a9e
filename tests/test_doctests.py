"""The examples in the docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import fabula

MODULES = [name for _, name, _ in pkgutil.walk_packages(fabula.__path__, "fabula.") if name != "fabula.__main__"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
