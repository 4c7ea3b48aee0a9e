"""The examples in the docstrings of the room run."""

import doctest
import importlib
import pkgutil

import pytest

import fabula.text


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(fabula.text.__path__)])
def test_examples(name: str) -> None:
    assert not doctest.testmod(importlib.import_module(f"fabula.text.{name}")).failed


def test_public_names_are_sorted_and_there() -> None:
    assert fabula.text.__all__ == sorted(fabula.text.__all__)
    assert all(hasattr(fabula.text, name) for name in fabula.text.__all__)
