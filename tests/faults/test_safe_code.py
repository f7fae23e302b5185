"""The package uses no shells, pickles, code from data, archives or networks, and escapes names in HTML."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

import thcli
import thgen_models

PACKAGES = [Path(package.__file__ or "").parent for package in (thcli, thgen_models)]
SOURCES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))

FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv",
    "subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell", "torch.load",
    "torch.hub.load", "torch.jit.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all",
    "joblib.load", "shutil.unpack_archive", "tarfile.open", "zipfile.ZipFile", "np.lib.format.read_array",
    "np.fromregex", "pty.spawn",
}  # fmt: skip
FORBIDDEN_IMPORTS = {
    "pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib", "tarfile", "zipfile", "xmlrpc", "pty",
    "urllib.request", "http.client", "requests", "socket", "ftplib",
}  # fmt: skip
HARMLESS = {"BadZipFile"}
"""What ``np.load`` raises for a damaged .npz."""
SPAWNS = {"subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_call", "subprocess.check_output"}


def name_of(node: ast.expr) -> str:
    """Return ``a.b.c`` of the function in a call, and an empty text where it is not a name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return ""


def faults_of(source: str) -> list[str]:
    """List what a module does that is forbidden."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [f"imports {alias.name}" for alias in node.names if alias.name in FORBIDDEN_IMPORTS]
        if isinstance(node, ast.ImportFrom) and node.module in FORBIDDEN_IMPORTS:
            found += [f"imports {node.module}" for alias in node.names if alias.name not in HARMLESS]
        if not isinstance(node, ast.Call):
            continue
        called, given = name_of(node.func), {keyword.arg: keyword.value for keyword in node.keywords}
        if called in FORBIDDEN_CALLS:
            found.append(f"calls {called}")
        shell = given.get("shell")
        if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
            found.append("has a shell")
        if called in SPAWNS and isinstance(node.args[0], (ast.Constant, ast.JoinedStr, ast.BinOp)):
            found.append(f"{called} of what may be text")
        if called in ("np.load", "numpy.load"):
            allowed = given.get("allow_pickle")
            if not (isinstance(allowed, ast.Constant) and allowed.value is False):
                found.append("np.load without allow_pickle=False")
    return found


@pytest.mark.parametrize(
    "source",
    [
        "eval(x)", "import os\nos.system(x)", "import subprocess\nsubprocess.run(x, shell=True)", "import pickle",
        "from pickle import loads", "import torch\ntorch.load(p)", "np.load(p)", "np.load(p, allow_pickle=True)",
        "yaml.load(x)", "subprocess.run('ls ' + x)", "subprocess.run(f'ls {x}')", "subprocess.run(x, shell=y)",
    ],
)  # fmt: skip
def test_faults_of_finds_what_is_forbidden(source):
    assert faults_of(source)


@pytest.mark.parametrize("source", ["np.load(p, allow_pickle=False)", "yaml.safe_load(x)", "subprocess.run(command)"])
def test_faults_of_accepts_safe_calls(source):
    assert not faults_of(source)


def test_package_does_nothing_that_is_forbidden():
    assert len(SOURCES) > 150
    found = {path.name: faults for path in SOURCES if (faults := faults_of(path.read_text(encoding="utf-8")))}
    # One asks whether the Ray cluster that the user names is there, one reads a package whose hash is known, in memory.
    zipped = ["imports zipfile", "calls zipfile.ZipFile"]
    assert found == {"cluster.py": ["imports socket"], "speech_encoder.py": zipped}


def test_package_opens_networks_in_one_place():
    """That place checks whether a network refers to other files."""
    opening = [
        path.name
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and name_of(node.func).endswith("InferenceSession")
    ]
    assert opening == ["onnx_files.py"]


def test_package_turns_off_telemetry_of_onnx_runtime():
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


NAME = "<img src=x onerror=alert(1)>&\"'.mp4"


def test_report_escapes_file_names(generate, folder):
    for kind in ("ref", "say"):
        (folder / f"{kind}{NAME}").symlink_to((folder / ("clip.mp4" if kind == "ref" else "speech.wav")).resolve())
    said = generate(f"ref{NAME}", f"say{NAME}", "-o", f"out{NAME}", "--report", "report.html")
    assert said.code == 0, said.err
    page = (folder / "report.html").read_text()
    assert "<img src=x" not in page
    for kind in ("ref", "say", "out"):
        assert f"{kind}&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#x27;.mp4" in page


def test_study_page_escapes_file_names_and_titles(thgen, folder):
    for method in ("a", "b"):
        (folder / method).mkdir()
        (folder / method / NAME).symlink_to((folder / "clip.mp4").resolve())
    title = "</title><script>alert(1)</script>"
    said = thgen("study", "make", "first=a", "<script>alert(2)</script>=b", "-o", "study.html", "--title", title)
    assert said.code == 0, said.err
    page = (folder / "study.html").read_text()
    assert "<img src=x" not in page and "<script>alert" not in page and "&lt;script&gt;alert" in page
