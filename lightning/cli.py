"""Set everything from outside, with LightningCLI, on the command line and in YAML.

    python -m lightning.cli fit --trainer.max_epochs 1 --print_config > run.yaml
    python -m lightning.cli fit --config run.yaml --model.hidden_dim 32
    python -m lightning.cli test --ckpt_path best.ckpt

`make diff LESSON=cli` shows this file beside plain_pytorch/cli.py, which does the same.
"""

from pathlib import Path
from typing import Any, Literal, NoReturn

import pytorch_lightning as pl
import torch
import yaml
from jsonargparse import Namespace, get_loader, set_loader
from jsonargparse.typing import NotEmptyStr
from pytorch_lightning.callbacks import (
    BasePredictionWriter,
    ModelCheckpoint,
    TQDMProgressBar,
)
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter

from lightning.evaluate import LitPredictor
from lightning.train import AtomicCheckpointIO, LitMNIST
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
    plain,
    reword,
)
from shared.pictures.predictions import join, write_predictions
from shared.runtime.command import one_line_errors, report_cli
from shared.runtime.errors import UsageError, raised_by
from shared.runtime.run_dir import new_run_dir, say_what_is_saved
from shared.runtime.signals import exit_on_signals

DATA_DIR = str(Config().data_dir)  # that of the environment, or data


# 1. What can be set: the keys, their types and their defaults.
class LitTrainer(pl.Trainer):
    """The Trainer, whose arguments are keys; these have other types or defaults.

    Its own types would let a key pass that the Trainer then refuses, and they make all
    batches (1.0) of `limit_train_batches: 1`. What stands here is the text of --help.
    What __init__ sets by itself, as deterministic and logger, is no key.

    Args:
        accelerator: Where to compute; auto is cuda where there is a GPU, otherwise cpu.
        max_epochs: How many times to go through the training images.
        limit_train_batches: Train on this many batches an epoch instead of all.
        limit_val_batches: Validate on this many batches instead of all.
        limit_test_batches: Test on this many batches instead of all.
        limit_predict_batches: Predict this many batches instead of all.
        accumulate_grad_batches: Batches to take a step with.
        check_val_every_n_epoch: Epochs from one validation to the next.
        default_root_dir: Folder for runs: each makes a new lightning/cli/version_N.
        options: All other keys.
    """

    def __init__(  # [trainer]
        self,
        accelerator: Literal["auto", "cpu", "cuda"] = "auto",
        max_epochs: Count = 3,
        limit_train_batches: Count | None = None,
        limit_val_batches: Count | None = None,
        limit_test_batches: Count | None = None,
        limit_predict_batches: Count | None = None,
        accumulate_grad_batches: Count = 1,
        check_val_every_n_epoch: Count | None = 1,
        default_root_dir: NotEmptyStr = "output",
        **options: Any,
    ) -> None:
        on_gpu = Config(accelerator=accelerator).use_cuda
        super().__init__(
            accelerator="cuda" if on_gpu else "cpu",  # [device]
            deterministic=on_gpu,  # [deterministic]
            max_epochs=max_epochs,  # [epochs]
            limit_train_batches=limit_train_batches,  # [limit]
            limit_val_batches=limit_val_batches,
            limit_test_batches=limit_test_batches,
            limit_predict_batches=limit_predict_batches,
            accumulate_grad_batches=accumulate_grad_batches,
            check_val_every_n_epoch=check_val_every_n_epoch,
            default_root_dir=default_root_dir,
            log_every_n_steps=LOG_EVERY_N_STEPS,
            logger=True,  # [log] another below, once the arguments are accepted
            plugins=[AtomicCheckpointIO()],  # [checkpoint]
            **options,
        )
        if self.is_global_zero and not self.fast_dev_run:
            # The logger's own version_N is that of another run that starts at once.
            run_dir = new_run_dir(Path(default_root_dir, "lightning", "cli"))
            self.logger = TensorBoardLogger(
                run_dir.parent, name="", version=run_dir.name, default_hp_metric=False
            )


class LitModel(LitPredictor):
    """The model, whose arguments are keys."""

    def __init__(  # [model]
        self,
        hidden_dim: Count = 64,
        latent_dim: Count = 3,
        learning_rate: LearningRate = 1e-3,
    ) -> None:
        # [hparams] A checkpoint can hold an int, but no Count.
        hidden_dim, latent_dim = plain(hidden_dim), plain(latent_dim)
        learning_rate = plain(learning_rate)
        super().__init__(hidden_dim, latent_dim, learning_rate)

    def on_validation_epoch_end(self) -> None:
        if self.trainer.state.fn == "validate":  # [log] at the step of the checkpoint
            self.log("step", float(self.trained_steps))


class LitData(LitMNIST):
    """The data, whose arguments are keys.

    Args:
        dataset: Images to learn; auto is mnist where it can be had, otherwise mnist-5k.
        data_dir: Folder of the images.
        batch_size: Images a step.
        num_workers: Processes that load images beside the main one.
        seed: That of `seed_everything`: the order of the images.
    """

    def __init__(  # [data]
        self,
        dataset: Literal["auto", "mnist", "mnist-5k", "fashion-mnist"] = "auto",
        data_dir: NotEmptyStr = DATA_DIR,
        batch_size: Count = 64,
        num_workers: Workers = 0,
        seed: Seed = 42,
    ) -> None:
        super().__init__(
            Config(
                dataset=dataset,
                data_dir=Path(data_dir),
                batch_size=batch_size,
                num_workers=num_workers,
                seed=seed,
            )
        )


# 2. How it is set: by defaults, then by files and options in the order they are given.
class Parser(LightningArgumentParser):
    """A parser that takes no abbreviations, and says what is wrong in one line."""

    def __init__(self, **options: Any) -> None:
        # [typos] Otherwise --trainer.max_epoch would be taken for max_epochs.
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        # [errors] jsonargparse says it in many lines. [yaml] It also reads the files.
        raise UsageError(f"{reword(message)} (see --help)") from ex

    def parse_string(self, content: str, path: Any = "", **options: Any) -> Namespace:
        if not path:
            raise UsageError("--config takes the name of a file, not its text")
        parsed = super().parse_string(content, path, **options)
        # [errors] jsonargparse lets this pass, and drops the value.
        tree = yaml.safe_load(content)
        for section in ("trainer", "model", "data"):  # a text names a file
            if not isinstance(tree.get(section, {}), dict | str):
                raise UsageError(f"--config {path}: there are no keys in {section}")
        return parsed

    def dump(self, namespace: Namespace, *args: Any, **options: Any) -> str:
        # [paths] Absolute ones: a stored configuration is read from other folders, too.
        namespace = namespace.clone()
        for key in PATHS:
            if namespace.get(key):
                namespace[key] = str(Path(namespace[key]).absolute())
        return super().dump(namespace, *args, **options)


read_yaml = get_loader("yaml")


def read_finite_yaml(text: str) -> Any:
    """Return what a text says. jsonargparse never ends with an anchor within itself."""
    require_end(text)
    return read_yaml(text)


set_loader("yaml", read_finite_yaml, exceptions=(yaml.YAMLError,))  # [yaml]


class LitCLI(LightningCLI):
    """Builds trainer, model and data from their keys, and calls trainer.fit and so on.

    With --ckpt_path, the model is that of the checkpoint, whatever its keys say.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        try:
            super().__init__(*args, **options)
        except OSError:
            raise
        except Exception as error:  # [errors] values that the Trainer's types let pass
            packages = ("pytorch_lightning", "lightning_fabric", "jsonargparse")
            keys = self.unusual_trainer_keys() if raised_by(error, packages) else []
            if not keys:
                raise
            cause = f"(perhaps because of {' or '.join(keys)})"
            raise UsageError(f"{error} {cause}") from error

    # Nothing to write: --config, --print_config, a callback that stores the
    # configuration beside the results [store], fit, validate and so on [subcommands].
    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--seed_everything", type=Seed, default=42)  # [seed]
        parser.add_argument("--threads", type=Threads, default=1)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("seed_everything", "data.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        try:
            super().parse_arguments(parser, args)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"--config: {error}") from error
        options = self.config[self.config.subcommand]
        for key, default in CliConfig().by_key().items():
            if default is not None and options.get(key) in (None, "null"):
                raise UsageError(f"--{key} cannot be null")
        path = None if options.ckpt_path is None else Path(options.ckpt_path)
        self.checkpoint = read_given_checkpoint(  # [resume]
            self.config.subcommand, path, options.trainer.max_epochs
        )

    def unusual_trainer_keys(self) -> list[str]:
        """Return the Trainer's own keys that have other values than their defaults."""
        name = str(self.subcommand)
        usual = self.parser.parse_args([name])[name].trainer
        found = self.config[name].trainer.items()
        keys = [f"trainer.{key}" for key, value in found if value != usual[key]]
        return [f"--{key}" for key in keys if key not in KEYS.values()]

    def before_instantiate_classes(self) -> None:
        options = self.config[self.subcommand]
        torch.set_num_threads(options.threads)  # [threads]
        given = Config(
            dataset=options.data.dataset,
            data_dir=Path(options.data.data_dir),
            accelerator=options.trainer.accelerator,  # no download without the GPU
        )
        known = with_known_dataset(given, self.checkpoint)  # [dataset]
        options.data.dataset = known.dataset


# 3. How to do it: train, from the start or a checkpoint; validate, test or predict.
# Nothing to write but what comes of a prediction. The Trainer calls prepare_data
# [download], set_epoch [shuffle], train() and eval() [mode], and for every batch
# [zero_grad], [backward] and [step]; self.log is the [mean]; the model's steps see that
# losses are [finite].
class PredictionWriter(BasePredictionWriter):
    """Writes what predict_step has returned: the CLI itself drops it."""

    def write_on_epoch_end(
        self, trainer: pl.Trainer, model: Any, predictions: Any, batch_indices: Any
    ) -> None:
        run_dir, dataset = Path(str(trainer.log_dir)), trainer.datamodule.dataset_name
        with SummaryWriter(run_dir) as writer:
            write_predictions(
                join(predictions), run_dir, writer, model.trained_steps, dataset
            )


class SayWhatIsSaved(pl.Callback):
    """Says which files a run leaves that ends early."""

    def on_exception(self, trainer: pl.Trainer, *_: Any) -> None:
        say_what_is_saved(Path(str(trainer.log_dir)))


# 4. Do it.
def main() -> None:
    """Do what the subcommand says, and store the configuration beside the results."""
    cli = LitCLI(
        LitModel,
        LitData,
        trainer_class=LitTrainer,
        trainer_defaults={
            "devices": 1,
            "callbacks": [
                TQDMProgressBar(refresh_rate=LOG_EVERY_N_STEPS),  # [progress]
                ModelCheckpoint(filename="best", monitor="val_loss"),  # [checkpoint]
                ModelCheckpoint(filename="last"),
                PredictionWriter("epoch"),
                SayWhatIsSaved(),
            ],
        },
        parser_class=Parser,
        auto_configure_optimizers=False,  # the model does, with its learning_rate
        load_from_checkpoint_support=False,  # [hparams] stored as numbers only
    )
    best = cli.trainer.checkpoint_callback.best_model_score
    losses = {} if best is None else {"best val_loss": best.item()}
    report_cli("lightning", str(cli.subcommand), Path(str(cli.trainer.log_dir)), losses)


if __name__ == "__main__":
    exit_on_signals()
    with one_line_errors(KEYS):
        main()
