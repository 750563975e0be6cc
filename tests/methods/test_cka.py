"""Linear CKA: against the definition of the unbiased HSIC, its invariances, and the command."""

from itertools import permutations

import pytest
import torch
from click.testing import CliRunner
from drake_methods.cka import best_matches, cka, hsic, layer_similarity
from drake_methods.commands import cka as cka_command

from drake.data.benchmark import load
from drake.errors import DrakeError
from drake.models import backbones


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gram(x: torch.Tensor) -> torch.Tensor:
    return (x @ x.T)[None]


def test_hsic_is_the_u_statistic_over_quadruples():
    k, m = gram(random(6, 3))[0], gram(random(6, 2, seed=1))[0]
    quadruples = list(permutations(range(6), 4))
    expected = sum(k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in quadruples) / len(quadruples)
    torch.testing.assert_close(hsic(k[None], m[None])[0, 0], expected)


def test_cka_ignores_rotation_scale_and_shift():
    x = random(40, 5)
    turned = x @ torch.linalg.qr(random(5, 5, seed=1)).Q * 3 + 7
    torch.testing.assert_close(cka([(gram(x), gram(turned))]), torch.ones(1, 1, dtype=torch.float64))


def test_unrelated_features_have_a_cka_near_zero():
    batches = [(gram(random(200, 4, seed=2 * k)), gram(random(200, 4, seed=2 * k + 1))) for k in range(5)]
    assert abs(cka(batches)[0, 0]) < 0.02


def test_batches_are_summed_before_the_quotient():
    batches = []
    for seed in (0, 1):
        x = random(20, 3, seed=seed)
        batches.append((gram(x), gram(x + random(20, 3, seed=9))))
    cross, first, second = (sum(hsic(batch[i], batch[j]) for batch in batches) for i, j in ((0, 1), (0, 0), (1, 1)))
    torch.testing.assert_close(cka(batches), cross / (first * second).sqrt())


def test_too_few_rows_are_refused():
    with pytest.raises(DrakeError, match="too few tokens"):
        cka([(gram(random(3, 2)), gram(random(3, 2)))])


@pytest.fixture(scope="module")
def micro(micro_backbones, micro_data):
    loaded = {name: backbones.load(micro_backbones[name]) for name in ("llama-4", "llama-6", "qwen-4")}
    return loaded, list(load(micro_data).public.select(range(12)))


def test_a_backbone_beside_itself_matches_layer_by_layer(micro):
    loaded, records = micro
    found = layer_similarity(loaded["llama-6"], loaded["llama-6"], records)
    torch.testing.assert_close(found.diagonal(), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(found, found.T)
    assert [match.best for match in best_matches(found)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("name", ["llama-6", "qwen-4"])
def test_other_sizes_and_families_are_compared_on_the_same_tokens(micro, name):
    loaded, records = micro
    found = layer_similarity(loaded["llama-4"], loaded[name], records)
    assert found.shape == (4, loaded[name].num_layers)
    assert found.isfinite().all()
    assert (found.abs() <= 1).all()
    other_way = layer_similarity(loaded[name], loaded["llama-4"], records)
    torch.testing.assert_close(other_way, found.T, atol=0.05, rtol=0)  # batches are put in another order


def test_best_matches_by_hand():
    found = best_matches(torch.tensor([[0.9, 0.1, 0.2, 0.0], [0.3, 0.2, 0.8, 0.7]]))
    assert [(m.layer, m.depth, m.best, m.best_depth) for m in found] == [(1, 0.5, 1, 0.25), (2, 1.0, 3, 0.75)]


def test_the_command_writes_the_matrix_and_its_picture(micro_backbones, micro_data, tmp_path):
    models = ",".join(micro_backbones[name] for name in ("llama-4", "llama-6"))
    asked = ["--models", models, "--data", micro_data, "--records", "6", "--out", str(tmp_path / "cka")]
    result = CliRunner().invoke(cka_command, asked, catch_exceptions=False)
    assert result.exit_code == 0
    rows = (tmp_path / "cka/cka.csv").read_text().splitlines()
    assert rows[0] == "layer,1,2,3,4,5,6"
    assert len(rows) == 5
    assert (tmp_path / "cka/cka.svg").stat().st_size > 1000
    one = CliRunner().invoke(cka_command, ["--models", micro_backbones["llama-4"]])
    assert "name two" in str(one.exception)
