"""The trained weights with which the lesson transfer starts."""

from shared.backbones import Classifier, flat
from shared.checkpoints.trained import newest_best
from shared.checkpoints.whole_files import load_weights, read_checkpoint
from shared.datasets.download import network_timeout
from shared.model import AutoEncoder
from shared.options.transfer import Config as TransferConfig
from shared.runtime.errors import UserError


def load_backbone(model: Classifier, config: TransferConfig) -> None:
    """Give the backbone of a classifier the weights that another training has found.

    Raises:
        UserError: there are none, or they are those of another architecture.
    """
    if config.backbone == "resnet18":
        load_resnet18(model)
        return
    path = config.weights or newest_best(config.output_dir, "--weights")
    autoencoder = AutoEncoder(config.hidden_dim, config.latent_dim)
    load_weights(autoencoder, read_checkpoint(path), path)
    model.backbone.load_state_dict(flat(autoencoder.encoder).state_dict())


def load_resnet18(model: Classifier) -> None:
    """Give a ResNet-18 torchvision's weights of ImageNet, downloaded if necessary.

    Raises:
        UserError: they cannot be downloaded.
    """
    from torchvision.models import ResNet18_Weights

    try:
        with network_timeout():
            weights = ResNet18_Weights.DEFAULT.get_state_dict(
                check_hash=True, map_location="cpu", weights_only=True
            )
    except OSError as error:
        raise UserError(
            f"the weights of resnet18 cannot be downloaded ({error}): start with random"
            " ones, with --no-pretrained"
        ) from error
    layers = {name: weights[name] for name in weights if not name.startswith("fc.")}
    model.backbone.resnet.load_state_dict(layers)  # type: ignore[operator, union-attr]
