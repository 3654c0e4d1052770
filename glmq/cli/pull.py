"""`glmq pull`: a model from the Hugging Face Hub."""

from __future__ import annotations

from dataclasses import replace

import click
from glmq_kernels.errors import GlmqError

from .hub_download import show_download


@click.command(short_help="Download a model from the Hugging Face Hub.")
@click.argument("name", metavar="REPO[:TAG]")
@click.option("--revision", metavar="REV", help="A branch, tag or commit of the repository. [default: main]")
@click.option("--mtp", is_flag=True, help="Also the file of its multi-token prediction (see --draft).")
@click.option("--mmproj", is_flag=True, help="Also the file of its vision encoder, for other programs.")
@click.option("--list", "only_list", is_flag=True, help="Say what there is and download nothing.")
def pull(name: str, revision: str | None, mtp: bool, mmproj: bool, only_list: bool) -> None:
    """Download a GGUF model of the repository REPO, such as unsloth/GLM-4.5-Air-GGUF, and print its path.

    TAG says which, such as Q4_K_M, or is the name of a file; without it that is Q4_K_M, else Q8_0, else
    the first. All parts of a split model come. A download that was stopped goes on where it was.

    Other commands take the same name for a model. It lies in the cache of the Hub, which other programs
    share.
    """
    from ..hub.listing import list_repo
    from ..hub.model_choice import gigabytes, models_among
    from ..hub.names import hub_name
    from ..hub.pull import plan_pull

    wanted = hub_name(name)
    if wanted is None:
        raise GlmqError(f"{name!r} is not a name on the Hub; give owner/name, or owner/name:TAG")
    if revision is not None:
        wanted = replace(wanted, revision=revision)
    if only_list:
        for model in models_among(list_repo(wanted).files):
            parts = f", {model.n_parts} files" if model.n_parts > 1 else ""
            click.echo(f"{model.tag}  {gigabytes(model.size)}{parts}")
        return
    kinds = [kind for kind, is_wanted in (("mtp", mtp), ("mmproj", mmproj)) if is_wanted]
    click.echo(show_download(plan_pull(wanted, kinds))[0])
