"""Threads: the cores that a process may use, and how waiting threads are set up before the libraries are loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from thcli import threads

ALLOWED = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, ALLOWED),
        ({"cpu.max": "max 100000\n"}, ALLOWED),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "damaged"}, ALLOWED),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, ALLOWED),
        ({"cpu/cpu.cfs_quota_us": "20000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_usable_cores_heeds_the_limit_of_a_control_group(monkeypatch, tmp_path, files, cores):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(threads, "CGROUPS", tmp_path)
    assert threads.usable_cores() == cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to cores")
def test_thgen_uses_one_thread_on_one_core():
    core = min(os.sched_getaffinity(0))
    script = f"import os; os.sched_setaffinity(0, {{{core}}}); import thcli, torch; print(torch.get_num_threads())"
    assert _output(script, {}) == "1\n"


@pytest.mark.parametrize(("given", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_waiting_threads_sleep_unless_the_user_says_otherwise(given, policy):
    assert _output("import thcli, os; print(os.environ['OMP_WAIT_POLICY'])", given) == f"{policy}\n"


@pytest.mark.parametrize("cores", ["1", "3"])
def test_products_of_numpy_do_not_depend_on_the_number_of_threads(cores):
    script = """import thcli, numpy as np, zlib
x = np.random.default_rng(0).random((300, 400), np.float32)
print(zlib.crc32((x @ x.T).tobytes()))"""
    assert _output(script, {"OMP_NUM_THREADS": cores}) == _output(script, {"OMP_NUM_THREADS": "2"})


def test_share_cores_limits_threads_where_a_control_group_does(monkeypatch):
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(threads, "_allowed_cores", lambda: 8)
    monkeypatch.setattr(threads, "_quotas", lambda root: iter([2.5]))
    threads.share_cores()
    assert os.environ["OMP_NUM_THREADS"] == "3"


def _output(script: str, variables: dict[str, str]) -> str:
    """Run Python with these of the variables that concern threads, and return what it prints."""
    usual = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "OPENBLAS_"))}
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", script], env=usual | variables, cwd=root, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_one_thread_holds_for_a_block_even_where_it_fails():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)

    @threads.one_thread()
    def inside(fails: bool) -> int:
        if fails:
            raise ValueError
        return torch.get_num_threads()

    try:
        assert (inside(False), inside(False), torch.get_num_threads()) == (1, 1, 2)
        with pytest.raises(ValueError):
            inside(True)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_process_that_computes_alone_uses_one_thread_also_of_what_it_loads_later():
    script = (
        "from thcli.threads import compute_alone, usable_cores\n"
        "compute_alone()\n"
        "import torch\n"
        "print(usable_cores(), torch.get_num_threads())"
    )
    assert _output(script, {}) == "1 1\n"


@pytest.mark.parametrize("module", ["generation.session", "generation.checks", "pipeline.person", "faces.builtin"])
def test_a_person_is_read_without_pytorch_which_takes_a_second_to_import(module):
    assert _output(f"import sys, thcli.{module}\nprint('torch' in sys.modules)", {}) == "False\n"
