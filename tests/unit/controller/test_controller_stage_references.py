import json

import pytest

from burnish.api.types import v1 as types_v1
from burnish_controller.outputs import stage_reference


def result(reference: object) -> types_v1.RolloutResult:
    data = b"" if reference is None else json.dumps(reference).encode()
    return types_v1.RolloutResult(reference=data)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"route": "billing", "intent": "price_rise"}, "billing"),
        ({"intent": "price_rise"}, ""),
        ({"route": 3}, ""),
        ({"route": None}, ""),
        (["route"], ""),
        ("route", ""),
        (7, ""),
        (None, ""),
    ],
)
def test_a_stage_is_told_what_it_should_have_said_only_under_its_own_name(reference, expected):
    assert stage_reference(result(reference), "route") == expected
