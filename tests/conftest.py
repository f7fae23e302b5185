"""Input that tests of several packages share; everything else is made where it is used."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from thcli.records import FaceTrack


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Every test draws the same random weights, whichever tests ran before it."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def nothing_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither weights nor default options of whoever runs the tests change anything."""
    from thcli import checkpoints

    nowhere = tmp_path_factory.mktemp("user") / "models"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "user_folder", lambda: nowhere)
        patch.delenv("THGEN_DEFAULTS", raising=False)
        yield


@pytest.fixture(scope="session")
def speech_wav() -> Path:
    """The demo's speech: 9.3 s, 16 kHz mono."""
    return Path(__file__).parent.parent / "samples" / "speech.wav"


@pytest.fixture(scope="session")
def portrait_png(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's portrait, head and shoulders: 256x256."""
    from PIL import Image
    from skimage.data import astronaut

    path = tmp_path_factory.mktemp("portrait") / "portrait.png"
    Image.fromarray(astronaut()[:256, 96:352]).save(path)
    return path


Say = Callable[..., Path]


@pytest.fixture(scope="session")
def say() -> Say:
    """say(path, seconds, loudness=0.4): a WAV of something like speech.

    A buzz whose formants and loudness change four times a second.
    """

    import wave

    import numpy as np

    def write(path: Path, seconds: float, loudness: float = 0.4) -> Path:
        time = np.arange(round(seconds * 16_000)) / 16_000
        pitch = 2 * np.pi * np.cumsum(130 + 20 * np.sin(2 * np.pi * time)) / 16_000
        vowel = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * time)
        voice = sum(np.sin(n * pitch) / n * np.exp(-((n * 130 - 500 - 600 * vowel) ** 2) / 4e5) for n in range(1, 20))
        samples = loudness * vowel * voice / max(float(np.abs(voice).max()), 1e-9)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes((samples * 32767).astype("<i2").tobytes())
        return path

    return write


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory, say: Say) -> Path:
    """photo.png of 301x257, second.wav of a second, word.wav of 0.4 s, clip.mp4 of 1.5 s made from the photo.

    The photo's sides are odd, so that those of its videos are one pixel longer.
    """
    from PIL import Image
    from skimage.data import astronaut

    from thcli import GenerateOptions, generate

    folder = tmp_path_factory.mktemp("inputs")
    Image.fromarray(astronaut()[:257, 70:371]).save(folder / "photo.png")
    say(folder / "second.wav", 1.0)
    say(folder / "word.wav", 0.4)
    options = GenerateOptions(seed=7, blink="0.6", device="cpu")
    generate(folder / "photo.png", say(folder / "sentence.wav", 1.5), folder / "clip.mp4", options)
    return folder


@pytest.fixture(scope="session")
def theta_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights with the checkpoint of a tiny Θ alone, whose layers that begin at zero have moved."""
    import dataclasses

    import torch

    from thcli.checkpoints import Header, save_checkpoint
    from thgen_models.generator import Generator, GeneratorDims

    dims = GeneratorDims(
        widths=(8, 12, 16), level=1, activation=4, grid=2, hidden=8, flow_width=4, flow_downs=1, flow_residuals=1
    )
    torch.manual_seed(0)
    network = Generator(dims)
    for parameter in network.parameters():
        if not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path_factory.mktemp("theta")
    header = Header("generator", dataclasses.asdict(dims))
    save_checkpoint(folder / "generator.safetensors", header, network.state_dict())
    return folder


@pytest.fixture(scope="session")
def certify() -> Callable[..., tuple[Path, Path]]:
    """certify(folder, name="Ada", days=30, purpose="email"): files of a certificate and of its key.

    days: how long it is valid from now on; below zero it has been valid until then
    """
    from datetime import datetime, timedelta, timezone

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    purposes = {"email": ExtendedKeyUsageOID.EMAIL_PROTECTION, "server": ExtendedKeyUsageOID.SERVER_AUTH}
    root_key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(timezone.utc)

    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def begun(name: str, key: ec.EllipticCurvePrivateKey, days: float, ca: bool) -> x509.CertificateBuilder:
        use = {
            "content_commitment": False, "key_encipherment": False, "data_encipherment": False, "key_agreement": False,
            "crl_sign": ca, "encipher_only": False, "decipher_only": False,
        }  # fmt: skip
        builder = x509.CertificateBuilder(named("Root"), named(name), key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(100)).not_valid_after(now + timedelta(days))
        builder = builder.add_extension(x509.BasicConstraints(ca, None), True)
        return builder.add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=ca, **use), True)

    def make(folder: Path, name: str = "Ada", days: float = 30, purpose: str = "email") -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = begun(name, key, days, ca=False).add_extension(x509.ExtendedKeyUsage([purposes[purpose]]), False)
        of_root = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
        chain = (leaf.add_extension(of_root, False), begun("Root", root_key, 30, ca=True))
        signed = [one.sign(root_key, hashes.SHA256()).public_bytes(Encoding.PEM) for one in chain]
        folder.mkdir(exist_ok=True)
        (folder / "cert.pem").write_bytes(b"".join(signed))
        (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return folder / "cert.pem", folder / "key.pem"

    return make


@pytest.fixture(scope="session")
def talking() -> Callable[[int, int], FaceTrack]:
    """talking(seed, frames): a face that turns a few degrees and talks, in a crop; each seed in its own way."""
    import numpy as np

    from thcli.checkpoints import shipped_weights
    from thcli.face_model import LANDMARKS_68, FaceModel
    from thcli.records import FaceTrack
    from thcli.rotations import apply_pose, placement, to_pixels

    model = FaceModel.load(shipped_weights() / "face_model.safetensors")
    scale, size = 1 / 60, (256, 256)

    def make(seed: int, frames: int) -> FaceTrack:
        random = np.random.default_rng(seed)
        time = np.arange(frames)[:, None] / 40 * 2 * np.pi
        turns = np.sin(time * random.integers(1, 4, 6) + random.uniform(0, 6, 6)) * [0.05, 0.08, 0.03, 0.02, 0.02, 0.0]
        says = np.sin(time * random.integers(2, 6, 20) + random.uniform(0, 6, 20)) * random.uniform(0.2, 0.8, 20)
        pose = placement(turns).astype(np.float32)
        faces = model.canonical + model.displacement(says.astype(np.float32))
        mesh = to_pixels(apply_pose(faces, pose), scale, size).astype(np.float32)
        box, ones = np.tile(np.float32([60, 60, 200, 200]), (frames, 1)), np.ones(frames, np.float32)
        return FaceTrack(box, mesh, mesh[:, LANDMARKS_68], pose, scale, ones, size, "made up")

    return make


@pytest.fixture(params=["cuda:0", "mps:0", pytest.param("real", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest) -> Iterator[str]:
    """Name of a GPU for ``--device``: two that are pretended, and the machine's own."""
    import torch
    from pretend_gpu import pretended_gpu

    if request.param != "real":
        with pretended_gpu(request.param.partition(":")[0]):
            yield request.param
    elif torch.cuda.is_available():
        yield "cuda"
    elif torch.backends.mps.is_available():
        yield "mps"
    else:
        pytest.skip("no GPU here")


@pytest.fixture
def no_theta_shipped(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of shipped weights as if Θ were not among them."""
    from thcli import checkpoints

    folder = tmp_path_factory.mktemp("shipped")
    for path in checkpoints.shipped_weights().iterdir():
        if path.suffix in (".safetensors", ".onnx") and not path.name.startswith("generator"):
            (folder / path.name).symlink_to(path)
    monkeypatch.setattr(checkpoints, "shipped_weights", lambda: folder)
    return folder


@dataclass(frozen=True)
class Said:
    """What a call of thgen came to; ``new`` is what was not there before."""

    code: int
    out: str
    err: str
    new: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        """What is said beside the last line, but for what is said of every video of the tests' smiling portrait."""
        said = [line.removeprefix("thgen: note: ") for line in self.err.splitlines() if "note: " in line]
        return [note for note in said if not note.startswith("the mouth smiles broadly in the photo")]

    def refused(self, code: int, message: str) -> None:
        """One line, that exit code, and nothing else."""
        assert self.err == f"thgen: error: {message}\n"
        assert (self.code, self.out, self.new) == (code, "", ())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def listing(folder: Path) -> Callable[[], set[str]]:
    """listing(): the files that lie in ``folder`` now."""
    return lambda: {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def thgen(folder: Path, listing: Callable[[], set[str]]) -> Callable[..., Said]:
    """thgen(*arguments): run a command in ``folder``."""
    from click.testing import CliRunner

    from thcli.commands.main import main

    def run(*arguments: object, stdin: bytes | None = None) -> Said:
        before = listing()
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)
        return Said(result.exit_code, result.stdout, result.stderr, tuple(sorted(listing() - before)))

    return run


@pytest.fixture(scope="session")
def ffmpeg() -> Callable[..., None]:
    """ffmpeg(*arguments): run it; the last argument is the file that it writes."""
    from thcli.clips.ffmpeg import executable

    def run(*arguments: object) -> None:
        subprocess.run([executable(), "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)

    return run


@pytest.fixture
def media(folder: Path, ffmpeg: Callable[..., None]) -> Callable[..., Path]:
    """media(name, *arguments): a file in ``folder``, made by ffmpeg from its own sources or from other files there."""

    def run(name: str, *arguments: object) -> Path:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        ffmpeg(*arguments, folder / name)
        return Path(name)

    return run
