"""`glmq rm`: removing a model that was downloaded."""

from __future__ import annotations

import click
from glmq_kernels.errors import GlmqError

from .model_argument import complete_cached
from .terminal import ask, counted, note


@click.command(short_help="Remove a model that was downloaded.")
@click.argument("name", metavar="REPO[:TAG]", shell_complete=complete_cached)
@click.option("--yes", is_flag=True, help="Do not ask.")
def rm(name: str, yes: bool) -> None:
    """Remove a model from the cache of the Hub, which other programs share.

    Without a TAG all that is there of the repository REPO goes, what has come of unfinished downloads too;
    with REPO@COMMIT what belongs to that commit. What other files share stays.
    """
    from ..hub.cached_models import plan_removal
    from ..hub.model_choice import gigabytes
    from ..hub.names import hub_name

    wanted = hub_name(name)
    if wanted is None:
        raise GlmqError(f"{name!r} is not a name on the Hub; glmq models lists those that are here")
    removal = plan_removal(wanted)
    what = f"{name}: {counted(len(removal.files), 'file')}, {gigabytes(removal.n_bytes)}"
    if not yes:
        answer = ask(f"Remove {what}?", ("yes", "no"))
        if answer is None:
            raise GlmqError(f"{what} would be removed; say so with --yes")
        if answer == "no":
            return
    removal.run()
    note(f"removed {what}")
