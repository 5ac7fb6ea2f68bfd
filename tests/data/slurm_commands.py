"""A Slurm of one machine: `sbatch`, `srun` and `scontrol` that keep the script and run its tasks at once, one after another."""

from __future__ import annotations

import sys
from pathlib import Path

SBATCH = r"""#!{python}
import os, re, subprocess, sys
from pathlib import Path

home = Path({home!r})
number = len(list(home.glob("job-*.slurm"))) + 1
script = Path(sys.argv[-1]).read_text()
(home / f"job-{{number}}.slurm").write_text(script)
(home / f"job-{{number}}.arguments").write_text(" ".join(sys.argv[1:-1]))
first, last = map(int, re.search(r"--array=(\d+)-(\d+)", script).groups())
for task in range(first, last + 1):
    environment = os.environ | {{"SLURM_ARRAY_TASK_ID": str(task), "SLURM_NODELIST": "localhost", "RUN_OFFSET": "0"}}
    done = subprocess.run(["bash", str(home / f"job-{{number}}.slurm")], env=environment, capture_output=True, text=True)
    (home / f"job-{{number}}-{{task}}.log").write_text(done.stdout + done.stderr)
    if done.returncode:
        sys.exit(done.stderr)
print(f"Submitted batch job {{number}}")
"""
SRUN = """#!/bin/bash
while [[ $1 == -* ]]; do [[ $1 == -n ]] && shift; shift; done
exec "$@"
"""
SCONTROL = """#!/bin/bash
echo "$3"
"""


def install(folder: Path) -> Path:
    """Write the three commands into `folder`/bin, and return that; scripts and logs of jobs go to `folder`."""
    commands = {"sbatch": SBATCH.format(python=sys.executable, home=str(folder)), "srun": SRUN, "scontrol": SCONTROL}
    (folder / "bin").mkdir(parents=True)
    for name, text in commands.items():
        path = folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
    return folder / "bin"
