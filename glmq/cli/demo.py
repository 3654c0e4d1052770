"""`glmq demo`: the demo model, built anew on request."""

from __future__ import annotations

import click

from .options import Status


@click.command(short_help="Build the demo model and say what it is.")
@click.option("--rebuild", is_flag=True, help="Build it even if it is there.")
def demo(rebuild: bool) -> None:
    """Download and build the demo model if it is not there, and say what it is."""
    from ..demo import DESCRIPTION, demo_model_path

    status = Status()
    try:
        path = demo_model_path(status.show, rebuild)
    finally:
        status.clear()
    click.echo(DESCRIPTION)
    click.echo(path)
