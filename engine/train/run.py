"""Owns one run of fine-tuning from end to end: text and a model in, a model folder out.

While it runs, all that is its own stands in `.train` inside the new folder: the checkpoint and the
table of losses. At the end the table, its picture and a summary are put into the folder, then the
model, and `.train` goes. Wherever that is cut off, the same command does what is left of it.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from codec.bpe import Tokenizer
from engine.config import ModelConfig
from engine.errors import EngineError, InvalidRequestError
from engine.locks import alone_in
from engine.memory import MIB, available_bytes
from engine.model import GPT2
from engine.train.chat_export import NOTICE
from engine.train.checkpoint import CHECKPOINT_NAME, Checkpoints
from engine.train.data import Corpus, build_corpus
from engine.train.distributed import World
from engine.train.documents import read_documents
from engine.train.finetune import Result, StepReport, Training
from engine.train.footprint import footprint
from engine.train.lora import Adapter
from engine.train.losses import LossLog, draw_losses, open_losses
from engine.train.params import TrainingParams
from engine.train.samples import SampleWriter
from engine.train.settings import TrainingSettings
from engine.weights import load_model, save_model

SCRATCH_NAME = ".train"


def finetune(settings: TrainingSettings, source: Path, world: World) -> str:
    """Train and save.

    Args:
        settings: what to do.
        source: folder of the model to start from.
        world: the processes that do it together.

    Returns:
        The summary that now stands in the new folder's `training.json`.

    Raises:
        EngineError: text, model or settings cannot be used, or memory does not suffice.
        StoppedError: a signal stopped it; the checkpoint is written.
    """
    config = ModelConfig.from_folder(source)
    params = settings.params(config.n_ctx)
    tokenizer = Tokenizer.from_folder(source)
    corpus = world.from_first(lambda: _prepare(settings, config, params, tokenizer, world))
    model = _start(settings, source, config, world.device)
    adapter = _adapter(settings, model)
    scratch = settings.out / SCRATCH_NAME
    checkpoints = Checkpoints(scratch, _run_name(settings, params, corpus, model))
    training = Training(model, corpus, params, checkpoints=checkpoints, world=world)
    summary = ""
    if world.is_first:
        result = _run_recorded(training, settings, _samples(settings, model, tokenizer))
        if adapter is not None:
            adapter.merge()
        summary = _put_beside(settings, params, corpus, result, world)
        save_model(model, source, settings.out, dtype=torch.float16)
        # First the checkpoint: without the rest of the folder a run can't go on as it was.
        checkpoints.remove()
        shutil.rmtree(scratch)
    else:
        training.run(lambda _: None)
    world.wait_for_all()
    return summary


def _prepare(
    settings: TrainingSettings,
    config: ModelConfig,
    params: TrainingParams,
    tokenizer: Tokenizer,
    world: World,
) -> Corpus:
    """Check what can be checked before the hours begin, and read the text."""
    if tokenizer.n_vocab > config.n_vocab:
        msg = f"the tokenizer's {tokenizer.n_vocab} tokens do not fit n_vocab {config.n_vocab}"
        raise InvalidRequestError(msg)
    if params.rows_per_step < world.size:
        msg = (
            f"batch_size · accumulate must be at least {world.size}, the number of processes that "
            f"share it, not {params.rows_per_step}"
        )
        raise InvalidRequestError(msg)
    is_going_on = (settings.out / SCRATCH_NAME / CHECKPOINT_NAME).is_file()
    if (settings.out / "config.json").exists() and not (settings.overwrite or is_going_on):
        msg = f"there is a model {settings.name} in {settings.models}: --overwrite replaces it"
        raise InvalidRequestError(msg)
    _check_memory(settings, config, params, world)
    reading = read_documents(settings.data)
    if reading.num_exports:
        tqdm.write(f"{NOTICE} ({len(reading.people)} people wrote in it.)")
    for path in reading.left_out:
        tqdm.write(f"{path} is left out: it is neither a chat export nor JSON lines.")
    return build_corpus(
        reading.documents, tokenizer, held_out_share=settings.held_out, seed=settings.seed
    )


def _check_memory(
    settings: TrainingSettings, config: ModelConfig, params: TrainingParams, world: World
) -> None:
    """Say what the run needs.

    Raises:
        EngineError: it does not fit.
    """
    on_cpu = world.device.type == "cpu"
    need = footprint(
        config,
        rows=min(params.batch_size, -(-params.rows_per_step // world.size)),
        block_tokens=params.block_tokens,
        recomputes=settings.gradient_checkpointing,
        lora_rank=settings.lora_rank,
        is_mixed=not on_cpu,
    )
    # On the CPU all processes take from the same memory.
    num_sharing = world.size if on_cpu else 1
    free_bytes = available_bytes(world.device)
    each = f" for each of {world.size} processes" if world.size > 1 else ""
    said = f"training needs about {need}{each}, {free_bytes // MIB} MiB are free on {world.device}"
    if need.total * num_sharing > free_bytes:
        msg = (
            f"{said}: it does not fit. A smaller --batch-size with a larger --accumulate, shorter "
            f"--block-tokens, --gradient-checkpointing, --lora-rank 8 or a smaller --model help."
        )
        raise EngineError(msg)
    tqdm.write(f"{said[0].upper()}{said[1:]}.")


def _start(
    settings: TrainingSettings, source: Path, config: ModelConfig, device: torch.device
) -> GPT2:
    if settings.fresh:
        model = GPT2(config)
        model.initialise(torch.Generator().manual_seed(settings.seed))
        model = model.to(device)
    else:
        model = load_model(source, device=device, dtype=torch.float32).requires_grad_()
    model.recomputes = settings.gradient_checkpointing
    return model


def _adapter(settings: TrainingSettings, model: GPT2) -> Adapter | None:
    if settings.lora_rank is None:
        return None
    return Adapter(model, rank=settings.lora_rank, alpha=settings.lora_alpha, seed=settings.seed)


def _samples(settings: TrainingSettings, model: GPT2, tokenizer: Tokenizer) -> SampleWriter | None:
    if settings.sample_every is None:
        return None
    return SampleWriter(
        model,
        tokenizer,
        name=settings.name,
        prompt=settings.sample_prompt,
        length=settings.sample_length,
        seed=settings.seed,
    )


def _run_recorded(
    training: Training, settings: TrainingSettings, samples: SampleWriter | None
) -> Result:
    """Train, alone in the new folder, with a table of what is learnt."""
    scratch = settings.out / SCRATCH_NAME
    refusal = f"another process trains {settings.name} in {settings.models}: wait for it"
    with (
        alone_in(scratch, refusal),
        open_losses(scratch / "losses.csv", training.progress.step) as losses,
    ):
        return training.run(_reporter(losses, samples, settings))


def _reporter(
    losses: LossLog, samples: SampleWriter | None, settings: TrainingSettings
) -> Callable[[StepReport], None]:
    def report(said: StepReport) -> None:
        losses.write(said)
        if said.held_out_loss is not None:
            tqdm.write(
                f"step {said.step}: loss {said.loss:.3f}, held out {said.held_out_loss:.3f} "
                f"nats a token, {said.tokens_per_s:.0f} tokens/s"
            )
        if samples and settings.sample_every and said.step % settings.sample_every == 0:
            tqdm.write(samples.write(said.step))

    return report


def _put_beside(
    settings: TrainingSettings,
    params: TrainingParams,
    corpus: Corpus,
    result: Result,
    world: World,
) -> str:
    """Put table, picture and summary where the model will be, and return the summary."""
    out = settings.out
    progress = result.progress
    summary = {
        "held_out_nats_per_token": round(result.held_out.nats_per_token, 4),
        "held_out_bits_per_byte": round(result.held_out.bits_per_byte, 4),
        "train_tokens": len(corpus.train.ids),
        "steps": progress.step,
        "best_step": progress.best_step or None,
        "stopped_early": result.stopped_early,
        "wall_s": round(progress.elapsed_s),
        "processes": world.size,
        "model": settings.model,
        "fresh": settings.fresh,
        "epochs": params.epochs,
        "max_minutes": params.max_minutes,
        "batch_size": params.rows_per_step,
        "block_tokens": params.block_tokens,
        "learning_rate": params.learning_rate,
        "lora_rank": settings.lora_rank,
        "patience": params.patience,
        "seed": settings.seed,
    }
    text = json.dumps(summary, indent=2)
    # A copy: a run whose model then cannot be saved still needs its table.
    shutil.copyfile(out / SCRATCH_NAME / "losses.csv", out / "losses.csv")
    draw_losses(out / "losses.csv", out / "losses.png")
    (out / "training.json").write_text(text + "\n", encoding="utf-8")
    return text


def _run_name(
    settings: TrainingSettings, params: TrainingParams, corpus: Corpus, model: GPT2
) -> str:
    """Name what a run's losses depend on, and that its checkpoint does not hold.

    How long it may take, when it looks and when it saves is not among that, nor what trades memory
    for time: these may change between two parts of a run.
    """
    lasting = replace(
        params, max_minutes=None, evaluate_every=None, patience=None, save_every_s=0.0
    )
    lora = (settings.lora_rank, settings.lora_alpha) if settings.lora_rank else None
    digest = hashlib.sha256(f"{lasting} {settings.model} {settings.fresh} {lora}".encode())
    for weight in model.parameters():
        if not weight.requires_grad:
            digest.update(weight.cpu().numpy().tobytes())
    for stream in (corpus.train, corpus.held_out):
        digest.update(stream.ids.numpy().tobytes())
        digest.update(stream.is_learnt.numpy().tobytes())
    return digest.hexdigest()
