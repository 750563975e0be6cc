"""What a message weighs."""

import torch

from drake.federation.communication import MessageTraffic, message_traffic
from drake.federation.method import Download, Upload


def test_bytes_are_added_up_by_the_last_part_of_a_name():
    message = Upload(
        {
            "0.self_attn.q_proj.B": torch.zeros(3, 2),
            "0.self_attn.q_proj.A": torch.zeros(2, 5),
            "1.mlp.up_proj.A": torch.zeros(2, 7),
            "gradient": torch.zeros(11),
        }
    )
    assert message_traffic(4, 9, "up", message) == [
        MessageTraffic(4, 9, "up", "A", 4 * (10 + 14)),
        MessageTraffic(4, 9, "up", "B", 4 * 6),
        MessageTraffic(4, 9, "up", "gradient", 44),
    ]


def test_a_tensor_weighs_what_its_dtype_does():
    kinds = {"half": torch.bfloat16, "single": torch.float32, "double": torch.float64, "byte": torch.uint8}
    message = Download({name: torch.zeros(10, dtype=dtype) for name, dtype in kinds.items()})
    assert {row.kind: row.bytes for row in message_traffic(0, 0, "down", message)} == {
        "half": 20,
        "single": 40,
        "double": 80,
        "byte": 10,
    }


def test_a_view_weighs_what_is_seen_of_it():
    (row,) = message_traffic(0, 0, "up", Upload({"A": torch.zeros(100, 100)[:2, :3]}))
    assert row.bytes == 24


def test_numbers_travel_as_doubles_and_nothing_weighs_nothing():
    assert message_traffic(1, 2, "up", Upload({}, {"loss": 0.5, "samples": 3})) == [
        MessageTraffic(1, 2, "up", "numbers", 16)
    ]
    assert message_traffic(1, 2, "up", Upload({})) == []
