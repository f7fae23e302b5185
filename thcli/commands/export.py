"""``thgen export``."""

from __future__ import annotations

from pathlib import Path

import click

from thcli.commands import options


@click.command("export")
@click.option("--onnx", "folder", type=options.PATH, required=True, metavar="DIR", help="Folder to write to.")
@options.weights
@options.overwrite
@options.debug
def command(folder: Path, weights: Path | None, overwrite: bool) -> None:
    """Write all networks as ONNX files, each compared with PyTorch on random input.

    Ψ and Φ are converted. The two networks of the tracker and the two of Θ are copied where they are ONNX already. DIR
    also gets a manifest.json (shapes, hashes, and the difference of each network from PyTorch) and a SHA256SUMS.

    \b
    thgen export --onnx onnx
    thgen export --onnx onnx --weights runs/motion --overwrite
    """
    from thcli.export.run import export_all
    from thcli.pipeline.models import load_models

    for one in export_all(folder, load_models(weights, device="cpu"), overwrite):
        made = "copied" if one.copied else "converted"
        click.echo(f"{folder / one.file}: {one.network}, {made}; differs from PyTorch by {one.difference:.0e}")
