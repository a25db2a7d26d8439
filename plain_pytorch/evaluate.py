"""No variant of train: test what was trained, predict and draw, with loops by hand.

python -m plain_pytorch.evaluate --image my_digit.jpg
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import save_image
from tqdm import tqdm

from shared.checkpoints.trained import newest_best, read_model
from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.evaluate import Config
from shared.pictures.picture_file import read_image
from shared.pictures.pictures import draw_embeddings, draw_pairs, join
from shared.runtime.command import run


# 1. The model: its loss on a batch, and what it makes of one.
class Model(AutoEncoder):
    """The shared model, and how it is used."""

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        return loss

    def predict_step(self, batch: Batch, batch_idx: int) -> tuple[Tensor, ...]:
        images, labels = batch
        embeddings = self(images)
        reconstructions = self.decoder(embeddings).view_as(images)
        return images, labels, embeddings, reconstructions


# 2. The loops: test all images, then predict them.
@torch.inference_mode()
def test(model: Model, loader: DataLoader[Batch], config: Config) -> float:
    """Return the mean loss, weighted by batch size."""
    model.eval()
    loss_sum, num_images = torch.zeros(()), 0
    for batch_idx, batch in enumerate(tqdm(loader, "Testing")):
        if config.use_cuda:
            batch = [tensor.cuda() for tensor in batch]
        loss = model.test_step(batch, batch_idx)
        loss_sum += loss.cpu() * len(batch[0])
        num_images += len(batch[0])
    return (loss_sum / num_images).item()


@torch.inference_mode()
def predict(
    model: Model, loader: DataLoader[Batch], config: Config
) -> list[tuple[Tensor, ...]]:
    """Return what the model makes of every batch, on the CPU."""
    model.eval()
    predictions = []
    for batch_idx, batch in enumerate(tqdm(loader, "Predicting")):
        if config.use_cuda:
            batch = [tensor.cuda() for tensor in batch]
        prediction = model.predict_step(batch, batch_idx)
        predictions.append(tuple(tensor.cpu() for tensor in prediction))
    return predictions


# 3. The run.
def main(config: Config, run_dir: Path) -> None:
    """Test a checkpoint, and save what its model makes of the test images."""
    # Checkpoint: of either half.
    ckpt_path = config.ckpt_path or newest_best(config.output_dir)
    checkpoint = read_model(ckpt_path)
    sizes = checkpoint["hyper_parameters"]
    model = Model(sizes["hidden_dim"], sizes["latent_dim"])
    model.load_state_dict(checkpoint["state_dict"])
    # Data.
    data = MNISTData(config)
    data.prepare_data()
    data.setup("test")
    own_image = read_image(config.image) if config.image else None
    # Device.
    if config.use_cuda:
        model.cuda()
    # Logging.
    writer = SummaryWriter(run_dir)
    # Testing.
    test_loss = test(model, data.test_dataloader(), config)
    writer.add_scalar("test_loss", test_loss, 0)
    print(f"test loss of {ckpt_path}: {test_loss:.6f}")
    # Predicting.
    predictions = predict(model, data.predict_dataloader(), config)
    images, labels, embeddings, reconstructions = join(predictions)
    np.savez(run_dir / "embeddings.npz", embeddings=embeddings, labels=labels)
    # Pictures.
    scatter = draw_embeddings(embeddings, labels)
    scatter.savefig(run_dir / "embeddings.png")
    writer.add_figure("embeddings", scatter)
    grid = draw_pairs(images[:10], reconstructions[:10])
    save_image(grid, run_dir / "reconstructions.png")
    writer.add_image("reconstructions", grid)
    # Image: your own.
    if own_image:
        predictions = predict(model, own_image, config)
        image, _, embedding, reconstruction = join(predictions)
        print("embedding of your image:", embedding.tolist())
        grid = draw_pairs(image, reconstruction)
        save_image(grid, run_dir / "image.png")
        writer.add_image("image", grid)
    writer.close()


if __name__ == "__main__":
    run(main)
