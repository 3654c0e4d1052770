"""`glmq demo`: the demo models, the first built anew on request."""

from __future__ import annotations

import click

from .options import Status


@click.command(short_help="Build the demo model and say what the demo models are.")
@click.option("--rebuild", is_flag=True, help="Build it even if it is there.")
def demo(rebuild: bool) -> None:
    """Download and build the model `demo` if it is not there, and say what the demo models are and where."""
    from ..demo import DEMOS
    from ..demo.smollm2 import demo_model_path

    status = Status()
    try:
        demo_model_path(status.show, rebuild)
        for name, each in DEMOS.items():
            path = each.path(status.show)
            status.clear()
            click.echo(f"{name}: {each.description}\n  {path}")
    finally:
        status.clear()
