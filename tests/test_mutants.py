"""Every hand-made mutant still has its place; ``make mutants`` shows that each is noticed."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT
from tools.mutants import ALERT, EXECUTION, GUARD, MUTANTS, SCHEDULE, Mutant, applied


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_applies_and_still_compiles(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()
    changed = applied(mutant, text)
    assert changed != text
    compile(changed, mutant.file, "exec")


def test_there_are_enough_of_them() -> None:
    assert sum(1 for mutant in MUTANTS if mutant.file in (ALERT, SCHEDULE)) >= 20
    assert sum(1 for mutant in MUTANTS if mutant.file in (GUARD, *EXECUTION)) >= 60
