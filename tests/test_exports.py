"""What the package offers by name: all of it there, documented, and nothing of it by accident."""

import inspect
import types

import pytest

import capenv

PUBLIC = sorted(capenv.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented(name: str) -> None:
    value = getattr(capenv, name)
    if isinstance(value, types.ModuleType):
        assert value.__doc__
        return
    assert inspect.getdoc(value), name
    if inspect.isclass(value):
        for attribute, member in vars(value).items():
            if not attribute.startswith("_") and callable(member):
                assert inspect.getdoc(getattr(value, attribute)), f"{name}.{attribute}"


def test_the_error_tree_in_the_docstring_is_the_tree() -> None:
    tree = capenv.errors.__doc__ or ""
    for name, value in vars(capenv.errors).items():
        if inspect.isclass(value) and issubclass(value, capenv.CapenvError):
            assert f" {name}" in tree, name
            assert inspect.getdoc(value)
