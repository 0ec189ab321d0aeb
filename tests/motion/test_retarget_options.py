"""Checks of the retargeting options."""

import pytest

from mimaface_cli.errors import InputError
from mimaface_cli.motion.retarget_options import RetargetOptions


@pytest.mark.parametrize(
    ("field", "value"),
    [("motion", "sideways"), ("region", "nose"), ("strength", -1.0), ("strength", 9.0), ("strength", float("nan"))],
)
def test_retarget_options_refuse_wrong_values_and_name_the_field(field, value):
    with pytest.raises(InputError) as caught:
        RetargetOptions(**{field: value})
    assert caught.value.field == field
