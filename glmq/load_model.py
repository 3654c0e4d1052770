"""From the path of a GGUF file to a model."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from pathlib import Path

from glmq_kernels.errors import GlmqError
from glmq_kernels.jit.compilation import Progress
from glmq_kernels.jit.kernel_folder import use
from glmq_kernels.machine.cores import check_threads
from glmq_kernels.ops.attention.cache_layout import type_of_both
from glmq_kernels.strings.string_offsets import prepare

from .argument_checks import check_call, check_count, check_memory, check_path, check_switch, check_text
from .demo import named_demo
from .drafting.choice import CHOICES, draft_choice
from .drafting.vocabulary import require_same_vocabulary
from .gguf import GGUFFile, open_gguf
from .kv_cache.page_file import DiskRoom, disk_room
from .loading import counting_program, layer_by_itself, needs_of
from .memory_plan import parse_size
from .model import Model
from .model_file import model_file
from .model_settings import context_size, model_settings
from .models.trunk import holds_trunk, prediction_block
from .weights import Weights


def load(
    path: str | os.PathLike[str],
    *,
    n_ctx: int | None = None,
    n_threads: int | None = None,
    cache_type: str = "F16",
    cache_type_k: str | None = None,
    cache_type_v: str | None = None,
    activations: str = "auto",
    ram: int | str | None = None,
    cache_disk: int | str | None = None,
    cache_folder: str | os.PathLike[str] | None = None,
    load: str = "mmap",
    deterministic: bool = False,
    numa: bool = False,
    draft: str | os.PathLike[str] = "auto",
    kernels: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Model:
    """Load a GGUF file, or a demo model by its name, "demo" or "demo-tools".

    n_ctx: tokens of context; n_threads: default all cores; cache_type: F16, Q8_0, Q4_0 or F32, of keys and
    values, of which either may have another (cache_type_k, cache_type_v);
    activations: what tokens are rounded to before they meet quantized weights, "int8" or, slower and exact,
    "f32", by default ("auto") that for models of 10 to 500 million parameters;
    ram: memory for everything, in bytes or such as "12G" (default: what is free); routed experts for which
    there is no room stay on disk until they are wanted;
    cache_disk: disk space, in bytes or such as "20GB", for keys and values of texts that nobody has used for
    long, which then come back from there and are not evaluated again; by default nothing that texts hold is
    written to the disk; cache_folder: the folder for it (default: one in glmq's own cache folder), where the
    file has no name and goes with the process; load: "mmap", where weights stay in the file and come
    into memory as they are used, or "read", which reads all of it first, so that the file is not needed
    afterwards, or "transcode", which reads low-bit weights (IQ1_S to IQ3_S, TQ1_0) first and turns them,
    without loss, into a form that takes more memory and is multiplied faster;
    deterministic: results depend on a text's tokens alone, whatever was cached or shared or is
    answered at the same time, so that greedy answers repeat; prompts are then read more slowly;
    numa: where the machine's memory is in several nodes, read all weights first, each matrix shared out among
    the nodes by rows, and keep an equal number of threads near each node (Linux);
    draft: what guesses tokens, which are then checked together, so that answers come faster and are the same:
    "lookup" goes on as the prompt or an earlier answer does where an answer repeats it, "mtp" asks the file's
    layer of multi-token prediction, the path of another file its layer, or the small model with the same
    tokenizer that it holds, beside look-up, "auto" takes what there is, "off" nothing; guesses are made as
    long as they pay;
    kernels: a folder made by `glmq compile`, from which kernels are taken for the rest of the process;
    progress(text, fraction): called while the file is read and while kernels compile, which
    happens once. Raises GlmqError with one line for what cannot be used.
    """
    check_path("path", path)
    check_count("n_ctx", n_ctx)
    check_count("n_threads", n_threads)
    check_text("cache_type", cache_type)
    for name, kept_as in (("cache_type_k", cache_type_k), ("cache_type_v", cache_type_v)):
        if kept_as is not None:
            check_text(name, kept_as)
    check_text("activations", activations)
    check_memory("ram", ram)
    check_memory("cache_disk", cache_disk)
    if cache_folder is not None:
        check_path("cache_folder", cache_folder)
    check_switch("deterministic", deterministic)
    check_switch("numa", numa)
    check_path("draft", draft)
    check_call("progress", progress)
    check_threads(n_threads)
    if kernels is not None:
        check_path("kernels", kernels)
        use(Path(kernels))
    budget = parse_size(ram) if isinstance(ram, str) else ram
    disk = _disk_room(cache_disk, cache_folder)
    if progress:
        prepare(progress)
    cache_type = type_of_both(cache_type_k or cache_type, cache_type_v or cache_type)
    choice = draft_choice(draft)
    with ExitStack() as undone:
        file = undone.enter_context(open_gguf(model_file(path, progress)))
        prediction: GGUFFile | None = None
        remarks: list[str] = []
        draft_model, reserved = None, 0
        if choice.file is not None:
            other = undone.enter_context(_open_draft(choice.file, progress))
            if not holds_trunk(other):
                prediction = other
            else:
                n_draft_ctx = min(context_size(file, n_ctx), context_size(other, None))
                draft_model, reserved = load_draft_model(other, file, n_draft_ctx, n_threads, progress)
                undone.callback(draft_model.close)
        elif choice.mtp:
            _require_layer(file)
            prediction = file
        elif choice.mtp is None:
            settings = model_settings(file, n_ctx, n_threads, cache_type, activations, budget)
            prediction, remarks = layer_by_itself(file, settings)
        try:
            if disk is not None and disk.remark is not None:
                remarks = [*remarks, disk.remark]
            model = Model(
                file, n_ctx=n_ctx, n_threads=n_threads, cache_type=cache_type, activations=activations,
                ram=budget, load=load, deterministic=deterministic, numa=numa, progress=progress,
                lookup=choice.lookup, prediction=prediction, draft_model=draft_model, reserved=reserved,
                cache_disk=disk, remarks=remarks,
            )  # fmt: skip
        except MemoryError:
            raise GlmqError(f"{path}: the system does not give the memory that this model needs") from None
        undone.pop_all()
        return model


def _open_draft(name: Path | str, progress: Progress | None) -> GGUFFile:
    """The file that drafts. Raises GlmqError, which names the choices for a word that is no file."""
    is_word = re.fullmatch(r"\w+", os.fspath(name)) is not None
    if is_word and not os.path.lexists(name) and named_demo(name) is None:
        raise GlmqError(f"{name}: no such file, and none of {', '.join(CHOICES)}", setting="draft")
    try:
        return open_gguf(model_file(name, progress))
    except GlmqError as error:
        error.setting = "draft"
        raise


def _disk_room(n_bytes: int | str | None, folder: str | os.PathLike[str] | None) -> DiskRoom | None:
    """Disk space for pages of the KV cache, where that is wanted."""
    if n_bytes is None:
        if folder is not None:
            raise GlmqError(
                f"{os.fspath(folder)} is to hold pages of the KV cache, but these are to have no room on a"
                " disk; say how much",
                setting="cache_disk",
            )
        return None
    return disk_room(
        parse_size(n_bytes) if isinstance(n_bytes, str) else int(n_bytes),
        None if folder is None else Path(folder).absolute(),
    )


def _require_layer(file: GGUFFile) -> None:
    """Refuse a file without the layer of multi-token prediction."""
    if prediction_block(file) is None:
        raise GlmqError(
            f"{file.path.name} has no layer of multi-token prediction; name a file that has it, or choose"
            " lookup or auto",
            setting="draft",
        )


def load_draft_model(
    draft: GGUFFile, file: GGUFFile, n_ctx: int | None, n_threads: int | None, progress: Progress | None
) -> tuple[Model, int]:
    """A model that guesses for the one in `file`, and the memory that it needs, in bytes.

    Raises GlmqError where its vocabulary is another or it does not fit into memory.
    """
    require_same_vocabulary(file, draft)
    settings = model_settings(draft, n_ctx, n_threads)
    counted = counting_program(draft, Weights(draft), settings)
    total = needs_of(draft, counted, settings.n_ctx).total
    model = Model(
        draft, n_ctx=settings.n_ctx, n_threads=n_threads, ram=total, lookup=False, progress=progress
    )
    return model, total
