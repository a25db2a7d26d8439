"""The files of the data sets: checked by digest, and downloaded if needed.

The layout is torchvision's, `<data_dir>/MNIST/raw/...`, so that either can use the
other's folder.
"""

import contextlib
import hashlib
import http.client
import io
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from shared.runtime.errors import UserError

NETWORK_TIMEOUT = 5.0
"""Seconds to wait for a server that does not answer."""

# md5 of the extracted files. torchvision checks the archives that it downloads; of an
# extracted file it only checks that it exists.
DIGESTS = {
    "mnist": {
        "MNIST/raw/train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "MNIST/raw/train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "MNIST/raw/t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "MNIST/raw/t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "fashion-mnist": {
        "FashionMNIST/raw/train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "FashionMNIST/raw/train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "FashionMNIST/raw/t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "FashionMNIST/raw/t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
    "cifar10": {
        "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
        "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
        "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
        "cifar-10-batches-py/batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
}


def read_checked(path: Path, digest: str) -> bytes:
    """Return the content of a file, checked by its digest.

    Raises:
        UserError: the file is missing, cannot be read, or has another digest.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != digest:
        raise UserError(f"{path} is damaged: it is not the published file")
    return content


def find_problems(name: str, data_dir: Path) -> dict[Path, UserError]:
    """Return the missing or damaged files of a data set, each with its problem."""
    problems = {}
    for file, digest in DIGESTS[name].items():
        try:
            read_checked(data_dir / file, digest)
        except UserError as problem:
            problems[data_dir / file] = problem
    return problems


def fetch(name: str, data_dir: Path) -> None:
    """Download a data set, unless all of its files are there and whole.

    When several processes call this at once, one of them downloads. The files go to a
    temporary folder and are renamed into place when all of them are whole. A damaged
    file is kept under another name, which is printed.

    Raises:
        UserError: the download failed. The files on the disk are unchanged.
    """
    problems = find_problems(name, data_dir)
    if not problems:
        return
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(data_dir / f".{name}.lock"):
            problems = find_problems(name, data_dir)  # another may have fetched it
            if problems:
                with tempfile.TemporaryDirectory(prefix=".new-", dir=data_dir) as new:
                    download(name, Path(new))
                    for path in problems:
                        put(Path(new) / path.relative_to(data_dir), path)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        problem = next(iter(problems.values()))
        lines = str(error).splitlines() or [type(error).__name__]
        reason = lines[-1].strip("<>")
        message = f"{problem}, and {name} cannot be downloaded: {reason}"
        raise UserError(message) from error


def download(name: str, folder: Path) -> None:
    """Let torchvision download a data set, and check the files.

    Raises:
        OSError, RuntimeError, HTTPException: the network or the disk failed.
        UserError: a file is not the published one.
    """
    from torchvision import datasets  # takes 2 seconds: only where it is needed

    classes = {
        "mnist": datasets.MNIST,
        "fashion-mnist": datasets.FashionMNIST,
        "cifar10": datasets.CIFAR10,
    }
    print(f"Downloading {name} ...")
    # torchvision prints as well.
    with network_timeout(), contextlib.redirect_stdout(io.StringIO()):
        classes[name](folder, download=True)
    for file, digest in DIGESTS[name].items():
        read_checked(folder / file, digest)


@contextlib.contextmanager
def network_timeout() -> Iterator[None]:
    """Give up when a server does not answer for NETWORK_TIMEOUT seconds."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def put(new: Path, target: Path) -> None:
    """Rename a file into its place; a file that is there is kept under another name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        aside = target.with_name(f"{target.name}.{time.time_ns()}.bad")
        target.rename(aside)
        print(f"{target} was damaged: it is now {aside.name}, beside a new download")
    new.rename(target)
