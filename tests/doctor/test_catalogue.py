from __future__ import annotations

import dataclasses
import inspect
import re

import pytest

from embedfit.doctor import CHECKS, GLOSSARY, explain, select
from embedfit.doctor.check import COMPONENTS
from embedfit.errors import EmbedfitError

SECTIONS = ["What it measures", "Why it hurts", "What to do", "How to confirm", "References", "How sure it is"]
every_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)


def test_codes_and_names_are_used_once_and_in_order():
    families = list(dict.fromkeys(check.code[:3] for check in CHECKS))
    assert families == ["DAT", "PAI", "NEG", "LOS", "GEO", "MOD", "OPT", "NUM", "TEA", "EVA"]
    codes = [check.code for check in CHECKS]
    assert codes == sorted(set(codes), key=lambda code: (families.index(code[:3]), code))
    assert len({check.name for check in CHECKS}) == len(CHECKS)


@every_check
def test_a_check_is_formed_as_the_house_wants_it(check):
    assert re.fullmatch(r"[A-Z]{3}\d{3}", check.code)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", check.name)
    assert check.component in COMPONENTS
    assert set(check.needs) <= set(GLOSSARY)
    assert check.needs


@every_check
def test_a_page_has_all_five_sections_in_order_and_all_its_thresholds(check):
    assert re.findall(r"^## (.+)$", check.page, re.M) == SECTIONS
    assert all(body.strip() for body in re.split(r"^## .+$", check.page, flags=re.M)[1:])
    source = inspect.getdoc(type(check))
    for field in dataclasses.fields(check):
        assert re.search(r"\{" + field.name + r"(:[^}]*)?\}", source), f"the page does not tell the limit {field.name}"
    assert not re.search(r"\{\w+(:[^}]*)?\}", check.page)
    assert "https://" in check.page.split("## References")[1]


@every_check
def test_a_page_tells_the_limits_in_force_and_not_numbers_typed_in(check):
    for field in dataclasses.fields(check):
        moved = dataclasses.replace(check, **{field.name: type(field.default)(field.default * 3 + 1)})
        assert moved.page != check.page


@every_check
def test_a_code_and_a_name_find_their_page(check):
    assert explain(check.code) == explain(check.code.lower()) == explain(check.name) == check.page
    assert check.page.startswith(f"# {check.code} {check.name}\n")


def test_checks_are_selected_by_the_beginning_of_their_code():
    assert [check.code for check in select(("LOS", "GEO002"))] == [
        *(c.code for c in CHECKS if c.code.startswith("LOS")),
        "GEO002",
    ]
    assert select() == CHECKS


def test_an_unknown_code_is_refused_with_the_nearest_known_one():
    with pytest.raises(EmbedfitError, match=r"no check 'LOS9'.*\n.*did you mean 'LOS00"):
        select(("LOS9",))
    with pytest.raises(EmbedfitError, match="families are DAT, PAI, NEG"):
        explain("xyzzy")
    with pytest.raises(EmbedfitError, match="'GEO' fits 4 checks"):
        explain("GEO")
