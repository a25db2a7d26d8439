"""Set everything from outside, with argparse and a YAML file, read by hand.

    python -m plain_pytorch.cli fit --trainer.max_epochs 1 --print_config > run.yaml
    python -m plain_pytorch.cli fit --config run.yaml --model.hidden_dim 32
    python -m plain_pytorch.cli test --ckpt_path best.ckpt

`make diff LESSON=cli` shows this file beside lightning/cli.py, which does the same.
Compared with train.py, `fit` can go on from a checkpoint [resume].
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any, NoReturn

import torch
import yaml
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from plain_pytorch.evaluate import PlainPredictor, predict
from plain_pytorch.train import evaluate, log_metric, make_checkpoint, prepare
from shared.checkpoints.lightning_format import Position, from_loops, to_loops
from shared.checkpoints.whole_files import load_weights, write_checkpoint, write_whole
from shared.data import MNISTData
from shared.options.cli import (
    KEYS,
    PATHS,
    CliConfig,
    read_given_checkpoint,
    require_end,
    with_known_dataset,
)
from shared.options.train import (
    LOG_EVERY_N_STEPS,
    Config,
    Count,
    LearningRate,
    Seed,
    Threads,
    Workers,
    help_texts,
    plain,
)
from shared.pictures.predictions import write_predictions
from shared.runtime.command import report_cli, run
from shared.runtime.errors import UsageError, require_finite


# 1. What can be set: the keys, their types and their defaults.
def add_keys(parser: argparse.ArgumentParser) -> None:
    """Add every key of a YAML file as an option; the dots are the sections."""
    helps = {KEYS.get(name): text for name, text in help_texts(CliConfig).items()}

    def add(option: str, **details: Any) -> None:
        parser.add_argument(option, help=helps[option.removeprefix("--")], **details)

    count, limit = number(Count), optional(number(Count))
    add("--seed_everything", type=number(Seed), default=42)  # [seed]
    add("--threads", type=number(Threads), default=1)  # [threads]
    devices = ("auto", "cpu", "cuda")
    add("--trainer.accelerator", choices=devices, default="auto")  # [trainer]
    add("--trainer.max_epochs", type=count, default=3)
    add("--trainer.limit_train_batches", type=limit)
    add("--trainer.limit_val_batches", type=limit)
    add("--trainer.limit_test_batches", type=limit)
    add("--trainer.limit_predict_batches", type=limit)
    add("--trainer.default_root_dir", type=path, default="output")
    add("--model.hidden_dim", type=count, default=64)  # [model]
    add("--model.latent_dim", type=count, default=3)
    add("--model.learning_rate", type=number(LearningRate), default=1e-3)
    datasets = ("auto", "mnist", "mnist-5k", "fashion-mnist")
    add("--data.dataset", choices=datasets, default="auto")  # [data]
    add("--data.data_dir", type=path, default=str(Config().data_dir))
    add("--data.batch_size", type=count, default=64)
    add("--data.num_workers", type=number(Workers), default=0)
    add("--ckpt_path", type=optional(path))


def number(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return what makes text a number within a range, or says why it is none."""

    def convert(text: str) -> Any:
        try:
            return plain(kind(text))
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert


def optional(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return what takes `null`, too: YAML's word for None."""
    return lambda text: None if text == "null" else convert(text)


def path(text: str) -> Path:
    """Return an absolute path: a stored one is read from other folders, too."""
    if text in ("", "null"):
        raise argparse.ArgumentTypeError("name a file or folder")
    return Path(text).absolute()  # [paths]


# 2. How it is set: by defaults, then by files and options in the order they are given.
class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations, and says what is wrong in one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)  # [typos]

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see --help)")  # [errors]


class ConfigFile(argparse.Action):
    """Takes every key of a YAML file as if it stood here on the command line."""

    def __call__(self, parser: Any, namespace: Any, values: Any, *_: Any) -> None:
        keys = Parser(add_help=False)
        add_keys(keys)
        try:
            arguments = [f"--{key}={text}" for key, text in flatten(read_yaml(values))]
            _, unknown = keys.parse_known_args(arguments, namespace)
        except (OSError, ValueError, RecursionError, UsageError) as error:
            raise UsageError(f"--config {values}: {error}") from error
        if unknown:
            key = unknown[0].partition("=")[0].removeprefix("--")
            raise UsageError(f"--config {values}: there is no key {key}")


def read_yaml(file: str) -> dict[str, Any]:
    """Return what a file says, by section."""
    try:
        text = Path(file).read_text()
        require_end(text)
        tree = yaml.safe_load(text)  # [yaml]
    except yaml.YAMLError as error:
        raise UsageError(" ".join(str(error).split())) from error
    if not isinstance(tree, dict):
        raise UsageError("there are no keys in it, such as seed_everything: 42")
    return tree


def flatten(tree: dict[str, Any], section: str = "") -> Iterator[tuple[str, str]]:
    """Yield the keys of all sections with dots, and the text of their values."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{section}{name}.")
        elif f"{section}{name}" in PATHS and not isinstance(value, str | None):
            raise UsageError(f"{section}{name}: {value} is not the text of a path")
        else:
            yield f"{section}{name}", "null" if value is None else str(value)


def to_yaml(config: CliConfig) -> str:
    """Return the file that gives this configuration."""
    tree: dict[str, Any] = {}
    for key, value in config.by_key().items():
        section, _, name = key.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[name] = value
    return yaml.safe_dump(tree, sort_keys=False)


def parse(arguments: list[str] | None = None) -> CliConfig:
    """Return what a command line asks for; --print_config prints it and ends."""
    keys = Parser(add_help=False)
    add_keys(keys)
    parser = Parser(prog="python -m plain_pytorch.cli")
    subcommands = parser.add_subparsers(dest="subcommand", required=True)
    for name in ("fit", "validate", "test", "predict"):  # [subcommands]
        subcommand = subcommands.add_parser(
            name,
            parents=[keys],
            usage="%(prog)s [options]",
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        subcommand.add_argument("-c", "--config", action=ConfigFile, help="YAML file")
        subcommand.add_argument("--print_config", action="store_true")
    options = vars(parser.parse_args(arguments))
    values = {field: options[key] for field, key in KEYS.items()}
    config = CliConfig(subcommand=options["subcommand"], **values)
    if options["print_config"]:
        print(to_yaml(config), end="")
        sys.exit()
    return config


# 3. How to do it: train, from the start or a checkpoint; validate, test or predict.
def fit(
    model: PlainPredictor,
    data: MNISTData,
    config: CliConfig,
    run_dir: Path,
    checkpoint: dict[str, Any] | None,
) -> float:
    """Train, validate after every epoch; return the best val_loss."""
    # [download] [deterministic]
    train_loader, val_loader = prepare(model, data, config)
    optimizer = model.configure_optimizers()
    position, best_val_loss = Position(), inf
    if checkpoint:  # [resume] the weights are there already
        optimizer.load_state_dict(checkpoint["optimizer_states"][0])
        position = from_loops(checkpoint["loops"])
    global_step = position.global_step
    limit = config.limit_train_batches  # [limit]
    num_batches = min(limit, len(train_loader)) if limit else len(train_loader)
    with (
        SummaryWriter(run_dir) as writer,  # [log]
        tqdm(total=num_batches) as bar,  # [progress]
    ):
        for epoch in range(position.epoch, config.max_epochs):  # [epochs]
            train_loader.sampler.set_epoch(epoch)  # [shuffle] anew in every epoch
            model.train()  # [mode]
            loss_sum, num_images = torch.zeros(()), 0
            bar.reset()
            bar.set_description(f"Epoch {epoch}")
            for batch_idx, batch in enumerate(islice(train_loader, num_batches)):
                if config.use_cuda:
                    batch = [tensor.cuda() for tensor in batch]  # [device]
                loss = model.training_step(batch, batch_idx)
                require_finite("training loss", loss.item(), global_step)  # [finite]
                optimizer.zero_grad()  # [zero_grad]
                loss.backward()  # [backward]
                optimizer.step()  # [step]
                loss_sum = loss_sum + loss.detach() * len(batch[0])  # [mean]
                num_images += len(batch[0])
                bar.update()
                if (global_step + 1) % LOG_EVERY_N_STEPS == 0:
                    log_metric(writer, "train_loss", loss.item(), global_step, epoch)
                    bar.set_postfix(train_loss=loss.item(), refresh=False)
                global_step += 1

            limit = config.limit_val_batches
            val_loss = evaluate(model, model.validation_step, val_loader, limit)
            require_finite("validation loss", val_loss, global_step)  # [finite]
            train_loss = (loss_sum.cpu() / num_images).item()
            log_metric(writer, "val_loss", val_loss, global_step - 1, epoch)
            log_metric(writer, "train_loss_epoch", train_loss, global_step - 1, epoch)
            bar.set_postfix(train_loss=train_loss, val_loss=val_loss)
            # [checkpoint] with the keys of Lightning's
            checkpoint = make_checkpoint(model, optimizer, data, epoch, global_step)
            position = Position(epoch + 1, 0, global_step)  # [resume]
            checkpoint |= {"loops": to_loops(position), "callbacks": {}}
            checkpoint["lr_schedulers"] = []
            if val_loss < best_val_loss:
                best_val_loss = val_loss
                write_checkpoint(run_dir / "checkpoints" / "best.ckpt", checkpoint)
            write_checkpoint(run_dir / "checkpoints" / "last.ckpt", checkpoint)
    return best_val_loss


def evaluate_or_predict(
    model: PlainPredictor,
    data: MNISTData,
    config: CliConfig,
    run_dir: Path,
    checkpoint: dict[str, Any],
) -> dict[str, float]:
    """Validate, test or predict; return the loss by its name, if there is one."""
    data.prepare_data()  # [download]
    data.setup(config.subcommand)
    if config.use_cuda:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # [deterministic]
        torch.use_deterministic_algorithms(True)
        model.cuda()  # [device]
    step, losses = checkpoint["global_step"], {}
    with SummaryWriter(run_dir) as writer:
        if config.subcommand == "predict":
            limit = config.limit_predict_batches
            predictions = predict(model, data.predict_dataloader(), limit)
            write_predictions(predictions, run_dir, writer, step, data.dataset_name)
        elif config.subcommand == "test":
            loader, limit = data.test_dataloader(), config.limit_test_batches
            losses["test_loss"] = evaluate(model, model.test_step, loader, limit)
        else:
            loader, limit = data.val_dataloader(), config.limit_val_batches
            losses["val_loss"] = evaluate(model, model.validation_step, loader, limit)
        for name, loss in losses.items():
            require_finite(name, loss, step)  # [finite]
            writer.add_scalar(name, loss, step)
    return losses


# 4. Do it.
def main(config: CliConfig, run_dir: Path) -> None:
    """Do what the subcommand says, and store the configuration beside the results."""
    checkpoint = read_given_checkpoint(
        config.subcommand, config.ckpt_path, config.max_epochs
    )
    if checkpoint:  # [hparams] the model is that of the checkpoint, whatever is given
        config = replace(config, **checkpoint["hyper_parameters"])
    config = with_known_dataset(config, checkpoint)  # [dataset]
    write_whole(run_dir / "config.yaml", to_yaml(config).encode())  # [store]
    torch.manual_seed(config.seed)  # [seed] right before the weights are drawn
    model = PlainPredictor(config.hidden_dim, config.latent_dim, config.learning_rate)
    if checkpoint and config.ckpt_path:
        load_weights(model, checkpoint, config.ckpt_path)
    data = MNISTData(config)
    if config.subcommand == "fit" or not checkpoint:
        losses = {"best val_loss": fit(model, data, config, run_dir, checkpoint)}
    else:
        losses = evaluate_or_predict(model, data, config, run_dir, checkpoint)
    report_cli("plain_pytorch", config.subcommand, run_dir, losses)


if __name__ == "__main__":
    run("plain_pytorch", "cli", main, parse, KEYS)
