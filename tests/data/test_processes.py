"""Work by several processes, some of which are killed."""

import subprocess
import sys

from thcli.data.processes import map_in_processes

KILLED = "__import__('os').kill(__import__('os').getpid(), 9)"


def test_map_in_processes_loses_only_the_item_of_a_killed_process():
    done = dict(map_in_processes(eval, ["1 + 1", KILLED, "2 + 1", "3 + 1"], 2))
    assert done == {"1 + 1": 2, KILLED: None, "2 + 1": 3, "3 + 1": 4}


def test_map_in_processes_ends_its_workers_with_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "from thcli.data.processes import map_in_processes\n"
        "if __name__ == '__main__':\n"
        "    items = ['__import__(\"os\").getpid()', '__import__(\"time\").sleep(60)']\n"
        "    for _, pid in map_in_processes(eval, items, 1):\n"
        "        print(pid, flush=True)\n"
    )
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    parent.stdout.readline()
    parent.kill()
    # The worker has the other end of the pipe, too: this returns when both are gone.
    assert parent.communicate(timeout=30)[0] == ""
