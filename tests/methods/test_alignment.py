"""Weight alignment against the definition: brute-force least squares, canonical correlations in full width."""

import math

import pytest
import torch
from click.testing import CliRunner
from drake_methods import frozen
from drake_methods.alignment import Side, align_b, align_factors, canonical_map, orthonormal_fit, row_orthonormal
from drake_methods.colora import co_lora_layers
from drake_methods.commands import align as align_command
from drake_methods.frozen import frozen_factors, orthonormal, random_factors
from drake_methods.pairing import pairs
from safetensors.torch import load_file

from drake.config import configure, preset
from drake.data.benchmark import load
from drake.errors import DrakeError
from drake.federation.method import Architecture, Client, Federation
from drake.models import backbones
from drake.runs import Setup
from drake.runs.engines import opened

PROJECTION = "self_attn.k_proj"


def test_alignment_equals_the_official_one(golden):
    case = load_file(golden / "alignment.safetensors")
    found = align_b(case["small.B_output"], case["large.B_output"], case["small.B"])
    torch.testing.assert_close(found, case["large.B_aligned"], rtol=0, atol=1e-6)
    torch.testing.assert_close(row_orthonormal(case["A"]), case["A_row_orthonormal"], rtol=0, atol=1e-6)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_no_matrix_with_orthonormal_rows_is_nearer():
    a = random(3, 7)
    nearest = row_orthonormal(a)
    torch.testing.assert_close(nearest @ nearest.T, torch.eye(3, dtype=torch.float64))
    for seed in range(50):
        other = orthonormal(3, 7, torch.Generator().manual_seed(seed)).double()
        assert (nearest - a).norm() <= (other - a).norm()


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_no_orthonormal_matrix_fits_better_than_the_one_found(scale):
    """Against the nearest one to the least-squares solution and against searches from random starts; inputs whose
    directions differ in size by `scale` make the two differ."""
    h = random(400, 7) * torch.logspace(0, math.log10(scale), 7, dtype=torch.float64)
    z = h @ random(3, 7, seed=1).T + random(400, 3, seed=2)

    def left(a):
        return float((h @ a.T - z).square().sum() / z.square().sum())

    solution = torch.linalg.lstsq(h, z).solution.T
    found = orthonormal_fit(h.T @ h, z.T @ h, solution)
    torch.testing.assert_close(found @ found.T, torch.eye(3, dtype=torch.float64))
    nearest = row_orthonormal(solution)
    assert left(found) < (0.9 if scale > 1 else 1) * left(nearest)
    assert all(left(found) <= left(searched(h, z, seed)) + 1e-6 for seed in range(5))


def searched(h, z, seed):
    """A local minimum over the matrices with orthonormal rows, from a random start, by torch's parametrization."""
    linear = torch.nn.Linear(h.shape[1], z.shape[1], bias=False, dtype=torch.float64)
    linear.weight.data = random(z.shape[1], h.shape[1], seed=seed)
    torch.nn.utils.parametrizations.orthogonal(linear)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=500, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = (linear(h) - z).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return linear.weight.detach()


def test_where_an_orthonormal_matrix_fits_exactly_it_is_found():
    h, a = random(60, 6), orthonormal(2, 6, torch.Generator().manual_seed(0)).double()
    found = orthonormal_fit(h.T @ h, a @ h.T @ h, random(2, 6, seed=3))
    torch.testing.assert_close(found, a, atol=1e-4, rtol=0)


def test_b_found_in_r_dimensions_is_the_one_found_in_full_width():
    rng = torch.Generator().manual_seed(1)
    small_b, large_b = (orthonormal(3, width, rng).T.double() for width in (8, 12))
    z_small = random(50, 3)
    z_large = z_small @ random(3, 3, seed=2) + 0.1 * random(50, 3, seed=3)
    full = align_b(z_small @ small_b.T, z_large @ large_b.T, small_b)
    s, large = z_small - z_small.mean(0), z_large - z_large.mean(0)
    narrow = large_b @ canonical_map(s.T @ s, large.T @ large, large.T @ s)
    torch.testing.assert_close(narrow, full, rtol=1e-9, atol=1e-9)


@pytest.fixture(scope="module")
def sides(micro_backbones, micro_data):
    def side(name):
        backbone = backbones.load(micro_backbones[name])
        layers = co_lora_layers(backbone.num_layers, 2)
        return Side(backbone, layers, random_factors(backbone, layers, 4, seed=0))

    records = list(load(micro_data).public.select(range(24)))
    return {name: side(name) for name in ("llama-4", "llama-6", "qwen-4")}, records


def inputs_of(side, layer, projection, records, which, other):
    """The rows of one projection's input, by a hook on the whole forward pass."""
    found = []
    linear = side.backbone.model.model.language_model.layers[layer].get_submodule(projection)
    handle = linear.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    rows = []
    order = (side.backbone, other.backbone) if which == 0 else (other.backbone, side.backbone)
    for pair in pairs(*order, records):
        with torch.no_grad():
            side.backbone.model.model(inputs_embeds=pair.batches[which].inputs["inputs_embeds"])
        rows.append(pair.poolings[which](found.pop()))
    handle.remove()
    return torch.cat(rows)


@pytest.mark.parametrize("name", ["llama-6", "qwen-4"])
def test_a_is_the_best_orthonormal_fit_and_b_follows_from_it(sides, name):
    known, records = sides
    anchor, other = known["llama-4"], known[name]
    aligned, fits = align_factors(anchor, other, records)
    assert set(aligned) == set(other.factors)
    small, large = anchor.layers[0], other.layers[0]
    h_small = inputs_of(anchor, small, PROJECTION, records, 0, other)
    h_large = inputs_of(other, large, PROJECTION, records, 1, anchor)
    target = h_small @ anchor.factors[f"{small}.{PROJECTION}.A"].double().T
    solved = torch.linalg.lstsq(h_large, target).solution.T
    fit = fits[f"{large}.{PROJECTION}"]
    assert fit.rows == len(h_small) == len(h_large)
    least = (h_large @ solved.T - target).square().sum() / target.square().sum()
    assert fit.least_squares == pytest.approx(float(least), rel=1e-4)
    a = aligned[f"{large}.{PROJECTION}.A"].double()
    torch.testing.assert_close(a, orthonormal_fit(h_large.T @ h_large, target.T @ h_large, solved), atol=1e-4, rtol=0)
    after = (h_large @ a.T - target).square().sum() / target.square().sum()
    assert fit.orthonormal == pytest.approx(float(after), rel=1e-4)
    nearest = row_orthonormal(solved)
    assert float(after) < float((h_large @ nearest.T - target).square().sum() / target.square().sum())

    b_small, b_random = anchor.factors[f"{small}.{PROJECTION}.B"], other.factors[f"{large}.{PROJECTION}.B"]
    full = align_b(target @ b_small.double().T, h_large @ a.T @ b_random.double().T, b_small.double())
    torch.testing.assert_close(aligned[f"{large}.{PROJECTION}.B"].double(), full, atol=1e-3, rtol=1e-3)


def test_a_backbone_aligned_to_itself_gets_the_anchors_a(sides):
    known, records = sides
    anchor = known["llama-4"]
    twin = Side(anchor.backbone, anchor.layers, random_factors(anchor.backbone, anchor.layers, 4, seed=5))
    aligned, fits = align_factors(anchor, twin, records)
    for place, fit in fits.items():
        assert fit.least_squares < 1e-6
        # Directions that few tokens have are decided by the grain of ridge.
        torch.testing.assert_close(aligned[f"{place}.A"], anchor.factors[f"{place}.A"], atol=0.02, rtol=0)


def test_alignment_does_not_depend_on_the_order_of_records(sides):
    known, records = sides
    plain, _ = align_factors(known["llama-4"], known["llama-6"], records)
    turned, _ = align_factors(known["llama-4"], known["llama-6"], records[::-1])
    for name, tensor in plain.items():
        torch.testing.assert_close(turned[name], tensor, atol=1e-3, rtol=1e-3)


def test_nothing_to_align_on_is_one_sentence(sides):
    known, _ = sides
    with pytest.raises(DrakeError, match=r"no public records.*fedmosaic.align=false"):
        align_factors(known["llama-4"], known["llama-6"], [])


@pytest.fixture
def federation(sides, monkeypatch, tmp_path):
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path))
    known, _ = sides
    names = ("llama-4", "llama-6")
    clients = tuple(Client(i, name, ("NLVR2-0",)) for i, name in enumerate(names))
    found = {name: Architecture(name, "llama", known[name].backbone.num_layers) for name in names}
    return Federation(
        clients, found, 0, 1, preset("quick").training, lambda name: known[name].backbone, lambda count, purpose: []
    )


def test_what_was_aligned_is_kept_and_found_again_whatever_happened_to_the_file(
    sides, federation, monkeypatch, tmp_path
):
    records = sides[1]
    first = frozen_factors(federation, "llama-6", 2, records)
    (kept,) = tmp_path.glob("aligned-*.safetensors")

    def never(*_):
        raise AssertionError("aligned anew")

    with monkeypatch.context() as patched:
        patched.setattr(frozen, "align_factors", never)
        again = frozen_factors(federation, "llama-6", 2, records)
        with pytest.raises(AssertionError, match="aligned anew"):
            frozen_factors(federation, "llama-6", 2, records[:-1])
        with pytest.raises(AssertionError, match="aligned anew"):
            frozen_factors(federation, "llama-6", 3, records)
    assert list(again.tensors) == list(first.tensors)
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in first.tensors.items())
    assert again.fits == first.fits
    kept.write_bytes(kept.read_bytes()[:100])
    repaired = frozen_factors(federation, "llama-6", 2, records)
    assert all(torch.equal(repaired.tensors[name], tensor) for name, tensor in first.tensors.items())


def test_the_anchor_and_a_run_without_alignment_have_random_factors(sides, federation):
    known, records = sides
    for name, on in (("llama-4", records), ("llama-6", None)):
        found = frozen_factors(federation, name, 2, on)
        side = known[name]
        expected = random_factors(side.backbone, side.layers, federation.training.rank, 0)
        assert found.fits == {}
        assert all(torch.equal(found.tensors[key], tensor) for key, tensor in expected.items())


def test_the_command_says_how_well_every_projection_fits(micro_backbones, micro_data, monkeypatch, tmp_path):
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path))
    models = ",".join(micro_backbones[name] for name in ("llama-4", "llama-6"))
    asked = ["--models", models, "--data", micro_data, "--set", "align_records=8", "--set", "num_blocks=2"]
    result = CliRunner().invoke(align_command, asked, catch_exceptions=False)
    assert result.exit_code == 0
    assert "2.self_attn.q_proj" in result.output
    assert "5.mlp.down_proj" in result.output
    assert len(list(tmp_path.glob("aligned-*.safetensors"))) == 1
    alone = CliRunner().invoke(align_command, ["--models", micro_backbones["llama-4"]])
    assert "needs two backbones" in str(alone.exception)


def test_a_run_on_all_cores_finds_what_the_command_kept(micro_backbones, micro_data, monkeypatch, tmp_path):
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path))
    models = tuple(micro_backbones[name] for name in ("llama-4", "llama-6"))
    asked = ["--models", ",".join(models), "--data", micro_data, "--set", "align_records=8", "--set", "num_blocks=2"]
    options = {"align_records": "8", "num_blocks": "2"}
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert CliRunner().invoke(align_command, asked, catch_exceptions=False).exit_code == 0
        torch.set_num_threads(2)
        monkeypatch.setattr(frozen, "align_factors", None)  # aligning again would be a TypeError
        with opened(
            "auto", Setup(configure("fedmosaic", models=models, data=micro_data, device="cpu", fedmosaic=options))
        ) as engines:
            method = engines.of_seed(0).worker.method
            assert method.factors(models[1]).fits["5.mlp.up_proj"].rows > 0
    finally:
        torch.set_num_threads(threads)
