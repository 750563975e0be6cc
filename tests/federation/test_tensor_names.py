"""Names of adapter tensors are taken apart and put together in one place."""

import pytest

from drake.federation.tensor_names import TensorName, layer_number, role


def test_a_name_is_layer_projection_and_role():
    name = TensorName.parse("13.self_attn.q_proj.A")
    assert name == TensorName(13, "self_attn.q_proj", "A")
    assert name.place == "13.self_attn.q_proj"
    assert str(name) == "13.self_attn.q_proj.A"
    assert str(name._replace(layer=3, role="P")) == "3.self_attn.q_proj.P"
    assert layer_number(name.place) == 13


@pytest.mark.parametrize("name", ["gradient", "shared.3.mlp.up_proj.A", ""])
def test_what_is_no_name_of_an_adapters_tensor_is_refused(name):
    with pytest.raises(ValueError, match="invalid literal"):
        TensorName.parse(name)


@pytest.mark.parametrize(
    ("name", "expected"), [("3.mlp.up_proj.B", "B"), ("shared.3.mlp.up_proj.A", "A"), ("gradient", "gradient")]
)
def test_the_role_is_the_last_part_whatever_stands_before(name, expected):
    assert role(name) == expected
