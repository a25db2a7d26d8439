"""Files are checked, and fetched from a server of our own that has real digits."""

import gzip
import hashlib
import multiprocessing
import pickle
import socket
import struct
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import torchvision

from shared.datasets import download
from shared.datasets.catalog import load, load_5k, prepare, resolve_auto
from shared.datasets.download import DIGESTS, fetch, find_problems
from shared.runtime.errors import UserError

NAMES = [*DIGESTS["mnist"]]
REQUESTS = 2 * len(NAMES)  # torchvision asks where a file is, then for the file
requests: list[str] = []


def idx_files() -> dict[str, bytes]:
    """Return the 5,000 digits in four files of MNIST's format, by their names."""
    pixels, labels = load_5k()
    contents = []
    for part in (slice(4000), slice(4000, None)):
        images = pixels[part]
        header = struct.pack(">4i", 0x803, *images.shape)
        contents.append(header + images.numpy().tobytes())
        numbers = labels[part].to(torch.uint8).numpy()
        contents.append(struct.pack(">2i", 0x801, len(numbers)) + numbers.tobytes())
    return dict(zip(NAMES, contents, strict=True))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the small files as MNIST's mirror, and expect them and no others."""
    folder = tmp_path / "server"
    folder.mkdir()
    resources = []
    for name, content in idx_files().items():
        monkeypatch.setitem(DIGESTS["mnist"], name, hashlib.md5(content).hexdigest())
        archive = folder / f"{Path(name).name}.gz"
        archive.write_bytes(gzip.compress(content, 1))
        digest = hashlib.md5(archive.read_bytes()).hexdigest()
        resources.append((archive.name, digest))

    with serve(folder) as url:
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [url])
        monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
        yield url


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve the files of a folder, and note what is asked for."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, _format: str, *arguments: object) -> None:
            requests.append(str(arguments[0]))

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Say nothing: torchvision hangs up on the answer to its first question."""

    requests.clear()
    server = Server(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_network(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the mirror to a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [url])


def write_files(data_dir: Path) -> dict[str, bytes]:
    contents = idx_files()
    for name, content in contents.items():
        (data_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (data_dir / name).write_bytes(content)
    return contents


def listing(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


DAMAGES = {
    "truncated": lambda content: content[:-100],
    "empty": lambda content: b"",
    "an error page": lambda content: b"<html><body>404 Not Found</body></html>",
    "one bit flipped": lambda content: (
        content[:5000] + bytes([content[5000] ^ 1])
        if len(content) > 5000
        else content[:-1] + bytes([content[-1] ^ 1])
    ),
    "zeroed": lambda content: content[:16] + bytes(len(content) - 16),
}


@pytest.mark.usefixtures("server")
def test_missing_files_are_fetched(tmp_path: Path) -> None:
    data_dir = tmp_path / "not there" / "yet"
    fetch("mnist", data_dir)
    found = listing(data_dir)
    assert found.pop(".mnist.lock") == b""
    assert found == idx_files()
    assert len(load("mnist", data_dir, train=True).labels) == 4000
    fetch("mnist", data_dir)
    assert len(requests) == REQUESTS


@pytest.mark.usefixtures("server")
def test_a_complete_folder_is_only_read(tmp_path: Path) -> None:
    contents = write_files(tmp_path / "data")
    fetch("mnist", tmp_path / "data")
    assert listing(tmp_path / "data") == contents
    assert not requests


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_file_is_set_aside_and_fetched_again(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    contents = write_files(tmp_path)
    bad = tmp_path / NAMES[2]
    bad.write_bytes(DAMAGES[damage](contents[NAMES[2]]))
    content = bad.read_bytes()
    fetch("mnist", tmp_path)
    assert not find_problems("mnist", tmp_path)
    (aside,) = bad.parent.glob("*.bad")
    assert aside.read_bytes() == content
    assert f"{bad} was damaged" in capsys.readouterr().out


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [NAMES[0], NAMES[3]])
def test_a_bad_file_is_named_where_it_cannot_be_fetched(
    tmp_path: Path, damage: str, name: str
) -> None:
    contents = write_files(tmp_path)
    (tmp_path / name).write_bytes(DAMAGES[damage](contents[name]))
    before = listing(tmp_path)
    with pytest.raises(UserError, match=r"is damaged.*cannot be downloaded") as error:
        prepare("mnist", tmp_path)
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)
    after = listing(tmp_path)
    assert after.pop(".mnist.lock") == b""
    assert after == before
    with pytest.raises(UserError, match="is damaged"):
        load("mnist", tmp_path, train="train" in name)


@pytest.mark.usefixtures("no_network")
def test_auto_does_without_what_cannot_be_had(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare("auto", tmp_path)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "mnist cannot be downloaded" in said
    assert "using mnist-5k" in said
    assert resolve_auto(tmp_path) == "mnist-5k"


@pytest.mark.usefixtures("server")
def test_auto_takes_what_can_be_had(tmp_path: Path) -> None:
    prepare("auto", tmp_path)
    assert resolve_auto(tmp_path) == "mnist"


@pytest.mark.usefixtures("server")
def test_a_wrong_archive_from_the_server_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "server" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"<html></html>")
    with pytest.raises(UserError, match="cannot be downloaded"):
        fetch("mnist", tmp_path / "data")
    assert [*listing(tmp_path / "data")] == [".mnist.lock"]


@pytest.mark.usefixtures("server")
def test_a_server_that_says_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [url])
        monkeypatch.setattr(download, "NETWORK_TIMEOUT", 0.2)
        with pytest.raises(UserError, match="timed out"):
            fetch("mnist", tmp_path / "data")
    assert socket.getdefaulttimeout() is None


@pytest.mark.usefixtures("server")
def test_processes_that_start_at_once_download_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")  # which keeps the mirror patched
    processes = [
        context.Process(target=fetch, args=("mnist", tmp_path / "data"))
        for _ in range(16)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 16
    assert not find_problems("mnist", tmp_path / "data")
    assert len(requests) == REQUESTS


@pytest.mark.usefixtures("server")
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=r"Not a directory: '.*file/data'"):
        fetch("mnist", tmp_path / "file" / "data")


@pytest.fixture
def cifar10_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve six batches of ten random images as CIFAR-10, and expect them."""
    batches = tmp_path / "server" / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for name in DIGESTS["cifar10"]:
        images = torch.randint(256, (10, 3072), generator=generator)
        batch = {"data": images.to(torch.uint8).numpy(), "labels": [*range(10)]}
        if "meta" in name:
            batch = {"label_names": [f"class {label}" for label in range(10)]}
        path = batches.parent / name
        path.write_bytes(pickle.dumps(batch))
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        monkeypatch.setitem(DIGESTS["cifar10"], name, digest)
    archive = tmp_path / "server" / "cifar.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(batches, batches.name)
    theirs = torchvision.datasets.CIFAR10
    digests = {Path(name).name: digest for name, digest in DIGESTS["cifar10"].items()}
    for part in ("train_list", "test_list"):
        files = [[name, digests[name]] for name, _ in getattr(theirs, part)]
        monkeypatch.setattr(theirs, part, files)
    meta = {**theirs.meta, "md5": digests["batches.meta"]}
    monkeypatch.setattr(theirs, "meta", meta)
    digest = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(theirs, "tgz_md5", digest)
    with serve(archive.parent) as url:
        monkeypatch.setattr(theirs, "url", f"{url}{archive.name}")
        yield


@pytest.mark.usefixtures("cifar10_server")
def test_cifar10_is_fetched_and_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    prepare("cifar10", tmp_path)
    for train, count in ((True, 50), (False, 10)):
        ours = load("cifar10", tmp_path, train)
        theirs = torchvision.datasets.CIFAR10(tmp_path, train)
        assert ours.pixels.shape == (count, 3, 32, 32)
        assert ours.labels.tolist() == theirs.targets
        assert ours.pixels.permute(0, 2, 3, 1).numpy().tolist() == theirs.data.tolist()
    batch = tmp_path / "cifar-10-batches-py" / "test_batch"
    batch.write_bytes(b"cos\nsystem\n(S'touch run'\ntR.")
    with pytest.raises(UserError, match="test_batch is damaged"):
        load("cifar10", tmp_path, train=False)


def test_cifar10_s_files_are_all_checked() -> None:
    theirs = torchvision.datasets.CIFAR10
    meta = [theirs.meta["filename"], theirs.meta["md5"]]
    expected = {
        f"{theirs.base_folder}/{name}": digest
        for name, digest in [*theirs.train_list, *theirs.test_list, meta]
    }
    assert expected == DIGESTS["cifar10"]


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_torchvision_s_files_are_all_checked(name: str) -> None:
    classes = {
        "mnist": torchvision.datasets.MNIST,
        "fashion-mnist": torchvision.datasets.FashionMNIST,
    }
    folder = classes[name].__name__
    expected = [
        f"{folder}/raw/{archive.removesuffix('.gz')}"
        for archive, _ in classes[name].resources
    ]
    assert [*DIGESTS[name]] == expected
    assert len(set(DIGESTS[name].values())) == 4


def test_full_mnist_has_the_published_digests(mnist_dir: Path) -> None:
    assert not find_problems("mnist", mnist_dir)
