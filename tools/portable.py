"""Run a command under another machine's arithmetic: without AVX, with other matrix products, on one thread.

    python -m tools.portable python -m pytest --nbval chapters/03_attention

The last bits of sums, products and exponentials then differ from this machine's own, as they do between the machines of two
readers. The libraries are asked first whether they comply. Artifacts go into a workspace apart: they, too, differ.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PORTABLE = {
    "ATEN_CPU_CAPABILITY": "default",  # PyTorch's own kernels
    "ONEDNN_MAX_CPU_ISA": "SSE41",  # its convolutions and bfloat16 products
    "MKL_CBWR": "COMPATIBLE",  # its float32 products
    "OPENBLAS_CORETYPE": "Nehalem",  # NumPy's products
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",  # NumPy's own loops
    **dict.fromkeys(["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"], "1"),
    "LLMBOOK_HOME": str(ROOT / "_build" / "portable"),
}
PROBE = """
import hashlib, json, warnings
warnings.simplefilter("ignore")
import numpy as np, torch

a = ((np.arange(90000) * 7919 % 10007) / 10007 - 0.5).astype(np.float32).reshape(300, 300)
t = torch.from_numpy(a)
results = {"torch @": t @ t, "torch exp": t.exp(), "torch tanh": t.tanh(), "bfloat16 @": (t.bfloat16() @ t.bfloat16()).float(),
           "numpy @": a @ a, "numpy exp": np.exp(a)}
digests = {name: hashlib.sha256(np.asarray(value).tobytes()).hexdigest() for name, value in results.items()}
print(json.dumps({"capability": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads(), "digests": digests}))
"""  # fmt: skip


def arithmetic(variables: dict[str, str]) -> dict:
    """Ask NumPy and PyTorch, in a process of their own, how they compute, and for digests of some results."""
    environment = {name: value for name, value in os.environ.items() if name not in PORTABLE} | variables
    command = [sys.executable, "-c", PROBE]
    return json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def difference(usual: dict, other: dict) -> tuple[str, bool]:
    """Say how two arithmetics differ, and whether that is enough: everything differs that this machine can compute otherwise."""
    same = [name for name, digest in usual["digests"].items() if digest == other["digests"][name]]
    text = f"torch computes with {other['capability']} on {other['threads']} thread, usually with {usual['capability']}"
    if usual["capability"] in ("DEFAULT", "NO AVX"):
        return f"{text}: this machine has no other arithmetic", True
    differing = [name for name in usual["digests"] if name not in same]
    text += f"; other last bits in {', '.join(differing) or 'nothing'}"
    return text + (f", but the usual ones in {', '.join(same)}" if same else ""), not same


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    text, enough = difference(arithmetic({}), arithmetic(PORTABLE))
    print(text, flush=True)
    if not enough:
        print("The variables of tools/portable.py have not taken effect.", file=sys.stderr)
        return 1
    os.environ.update(PORTABLE)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
