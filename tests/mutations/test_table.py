"""The table of mutations still fits the code and the tests that it names."""

import ast
from pathlib import Path

import pytest

from tests.mutations.copies import CHECKOUT, switched_off
from tests.mutations.table import FAULTS, MUTATIONS, Mutation

each_mutation = pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name)


@each_mutation
def test_what_a_mutation_replaces_stands_there_once(mutation: Mutation, tmp_path: Path) -> None:
    copy = tmp_path / mutation.file
    copy.parent.mkdir(parents=True)
    copy.write_bytes((CHECKOUT / mutation.file).read_bytes())
    switched_off(tmp_path, mutation)
    assert mutation.new in copy.read_text(encoding="utf-8")


@each_mutation
def test_the_tests_that_a_mutation_names_exist(mutation: Mutation) -> None:
    for test in mutation.tests:
        file, _, name = test.partition("::")
        tree = ast.parse((CHECKOUT / file).read_text(encoding="utf-8"))
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        assert name in {node.name for node in tree.body if isinstance(node, functions)}


@each_mutation
def test_one_of_them_is_of_whole_programs(mutation: Mutation) -> None:
    assert any(test.startswith(FAULTS) for test in mutation.tests)


def test_no_two_mutations_share_a_name() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
