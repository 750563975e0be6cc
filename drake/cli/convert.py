"""`drake convert`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from drake.errors import DrakeError


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--to", "target", type=click.Choice(["every-eval-ever", "hub"]), required=True, help="The format to write."
)
@click.option("--model-id", metavar="OWNER/NAME", help="every-eval-ever: how the federation is called there.")
@click.option("--organization", help="every-eval-ever: who made the evaluation.")
@click.option("--client", type=int, help="hub: the client whose model the results belong to, from 0.")
@click.option("--seed", type=int, help="hub: the seed of the federation.  [default: the run's first seed]")
@click.option("--dataset-id", metavar="OWNER/NAME", help="The run's dataset on the Hub. [default: what the run read]")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write into.")
def convert(
    run: Path,
    target: str,
    model_id: str | None,
    organization: str | None,
    client: int | None,
    seed: int | None,
    dataset_id: str | None,
    out: Path,
) -> None:
    """Write a run's results in another format: Every Eval Ever, or the evaluation results of a model on the Hub.

    \b
    Examples:
      drake convert runs/fedmosaic-mini --to every-eval-ever --model-id lab/fedmosaic --organization "My Lab" --out eee
      drake convert runs/sft-mini --to hub --client 3 --dataset-id lab/drake-mini --out models/client-3
    """
    from drake.results import load
    from drake.results.converters import HUB_FOLDER, every_eval_ever, hub_dataset, write_every_eval_ever, write_hub

    if target == "every-eval-ever":
        if model_id is None or organization is None:
            raise DrakeError("--to every-eval-ever needs --model-id and --organization; add them.")
        results = load(run)
        record = every_eval_ever(results, model_id, organization, time.time(), dataset_id or hub_dataset(results))
        click.echo(write_every_eval_ever(record, out))
        return
    if client is None:
        raise DrakeError("--to hub needs --client: the results on the Hub belong to one model.")

    from drake.runs.stored import read_stored
    from drake.tools.exported_scores import client_scores
    from drake.tools.model_card import Exported, client_entries

    config = read_stored(run)
    seed = config.seeds[0] if seed is None else seed
    scores = client_scores(run, client, seed) if client >= 0 else None
    if scores is None:
        raise DrakeError(
            f"{run} has no finished results of client {client} with seed {seed}; finish it, or name another."
        )
    if not scores.same_model:
        raise DrakeError(
            f"{run} scored client {client} before the last aggregation, so not the model that drake export writes; run "
            "it with --also-aggregated, or with --evaluate-at aggregated."
        )
    named = dataset_id or hub_dataset(scores.results)
    if named is None:
        raise DrakeError(
            "the run read no dataset of the Hub; name the one that its scores belong to with --dataset-id."
        )
    path = out / HUB_FOLDER / "drake.yaml"
    write_hub(client_entries(scores, Exported(run, config, client, seed, False), named), path)
    click.echo(path)
