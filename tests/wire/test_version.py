"""The version that texts are said to be written by is the one that is installed."""

import importlib.metadata

from wire.version import VERSION


def test_the_package_and_the_code_have_one_version():
    assert importlib.metadata.version("ovid") == VERSION
