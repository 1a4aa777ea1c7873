"""Which proposers outside the suite an operator allows."""

import pytest

from burnish.errors import InvalidArgument
from burnish_controller.external import ExternalProposers


def test_nothing_is_allowed_unless_it_is_named():
    found = ExternalProposers.from_environment({})
    assert (dict(found.targets), found.token) == ({}, None)


def test_names_targets_and_the_token_are_read(tmp_path):
    file = tmp_path / "token"
    file.write_text("secret\n")
    found = ExternalProposers.from_environment(
        {
            "BURNISH_PROPOSERS": "mine=10.0.0.7:50060, other=dns:///other.local:1 ,",
            "BURNISH_PROPOSERS_TOKEN_FILE": str(file),
        }
    )
    assert dict(found.targets) == {"mine": "10.0.0.7:50060", "other": "dns:///other.local:1"}
    assert found.token == "secret"
    assert "secret" not in repr(found)


def test_every_problem_is_told_at_once(tmp_path):
    given = "mine, Other=h:1, grounded=h:1, a=h:1, a=h:2, b=http://h:1, c=h"
    with pytest.raises(InvalidArgument) as caught:
        ExternalProposers.from_environment(
            {
                "BURNISH_PROPOSERS": given,
                "BURNISH_PROPOSERS_TOKEN_FILE": str(tmp_path / "absent"),
            }
        )
    for words in ("`mine`", "`Other=h:1`", "built-in", "`a` is there twice", "`b=http", "`c=h`",
                  "cannot be read"):  # fmt: skip
        assert words in caught.value.message
