"""Execute notebooks and store them in the book's one normal form.

    python -m tools.execute                          every notebook of _toc.yml, in its order
    python -m tools.execute chapters/03_attention    a folder, or single notebooks
    python -m tools.execute --fresh ...              measure anew what depends on the machine, and the seconds
    python -m tools.execute --times ...              measure the seconds anew, and nothing else
    python -m tools.execute --check ...              execute nothing, report notebooks that are not in normal form

A notebook runs top to bottom in its own folder, in a fresh kernel. Running the tool twice leaves `git diff` empty:
outputs of cells tagged `nbval-ignore-output` (timings, plots) are kept as long as no code of the notebook up to the last
such cell has changed. They are kept all together or not at all, so that the numbers of one notebook come from one run.
The seconds that the notebook took are stored with a hash of its code, and kept as long as that has not changed.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tools import toc

ROOT = Path(__file__).resolve().parent.parent
EXEMPT = "nbval-ignore-output"
MAY_RAISE = "raises-exception"
CELL_METADATA = ("tags", "nbgrader", "mystnb")
OUTPUT_METADATA = ("scrapbook",)  # where myst-nb's glue keeps the name of a value
KERNELSPEC = {"display_name": "python3", "language": "python", "name": "python3"}  # as nbdev-clean would write it
LANGUAGE_INFO = {"name": "python"}  # a version here would differ between readers


class ExecutionError(RuntimeError):
    """A notebook could not be executed; the message names notebook, cell and reason."""


# ---------------------------------------------------------------- the normal form: pure functions on notebook dictionaries


def joined(text: str | list[str]) -> str:
    """Return a notebook's text field as one string."""
    return text if isinstance(text, str) else "".join(text)


def lines_of(text: str | list[str]) -> list[str]:
    """Return a notebook's text field as the list of lines in which it is stored."""
    return joined(text).splitlines(keepends=True)


def tags_of(cell: dict) -> list[str]:
    return list(cell.get("metadata", {}).get("tags", []))


def is_exempt(cell: dict) -> bool:
    """Is this a code cell whose output nbval does not compare?"""
    return cell["cell_type"] == "code" and EXEMPT in tags_of(cell)


def code_hashes(nb: dict) -> dict[str, str]:
    """Map the id of each exempt cell to a hash of all code up to and including it."""
    digest, hashes = hashlib.sha256(), {}
    for cell in nb["cells"]:
        if cell["cell_type"] != "code":
            continue
        digest.update(joined(cell["source"]).encode() + b"\0")
        if is_exempt(cell):
            hashes[cell["id"]] = digest.hexdigest()[:16]
    return hashes


def code_hash(nb: dict) -> str:
    """Return a hash of all code of a notebook."""
    code = "\0".join(joined(cell["source"]).rstrip() for cell in nb["cells"] if cell["cell_type"] == "code")
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def stored_run(nb: dict) -> dict:
    """Return what a notebook stores of its last run: the hash of the code that ran, and its seconds; or nothing."""
    run = nb.get("metadata", {}).get("llmbook", {}).get("run", {})
    return {"code": run["code"], "seconds": run["seconds"]} if {"code", "seconds"} <= run.keys() else {}


def normalise_outputs(outputs: list[dict], count: int | None) -> list[dict]:
    """Return outputs with streams coalesced, keys in a fixed order and without volatile metadata."""
    result: list[dict] = []
    for output in outputs:
        kind = output["output_type"]
        if kind == "stream":
            previous = result[-1] if result else {}
            if previous.get("output_type") == "stream" and previous["name"] == output["name"]:
                previous["text"] = lines_of(joined(previous["text"]) + joined(output["text"]))
            elif joined(output["text"]):
                result.append({"name": output["name"], "output_type": "stream", "text": lines_of(output["text"])})
        elif kind == "error":
            plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in output.get("traceback", [])[-1:]]
            result.append({"ename": output["ename"], "evalue": output["evalue"], "output_type": kind, "traceback": plain})
        else:
            data = {mime: normalise_data(mime, value) for mime, value in sorted(output["data"].items())}
            kept = {key: value for key, value in output.get("metadata", {}).items() if key in OUTPUT_METADATA}
            entry = {"data": data, "metadata": kept, "output_type": kind}
            result.append({**entry, "execution_count": count} if kind == "execute_result" else entry)
    return result


def normalise_data(mime: str, value):
    if mime.endswith("json"):
        return value
    if mime.startswith("image/") and mime != "image/svg+xml":
        return joined(value).strip()
    return lines_of(value)


def normalise(nb: dict) -> dict:
    """Return the notebook in normal form. Pure, and idempotent."""
    cells, count = [], 0
    for position, cell in enumerate(nb["cells"]):
        source = joined(cell["source"]).rstrip()
        entry = {"cell_type": cell["cell_type"]}
        if cell["cell_type"] == "code":
            count += bool(source)
            entry["execution_count"] = count if source else None
        entry["id"] = cell.get("id") or hashlib.sha256(f"{position}:{source}".encode()).hexdigest()[:8]
        entry["metadata"] = {key: cell["metadata"][key] for key in CELL_METADATA if cell.get("metadata", {}).get(key)}
        if cell["cell_type"] == "code":
            entry["outputs"] = normalise_outputs(cell.get("outputs", []), entry["execution_count"])
        elif cell.get("attachments"):
            entry["attachments"] = cell["attachments"]
        entry["source"] = lines_of(source)
        cells.append(entry)
    measured = nb.get("metadata", {}).get("llmbook", {}).get("measured", {})
    present = {cell["id"] for cell in cells if is_exempt(cell)}
    measured = {key: value for key, value in measured.items() if key in present}
    kept = {key: value for key, value in (("measured", measured), ("run", stored_run(nb))) if value}
    metadata = {"kernelspec": dict(KERNELSPEC), "language_info": dict(LANGUAGE_INFO), **({"llmbook": kept} if kept else {})}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def dumps(nb: dict) -> str:
    """Return the text of a normalised notebook: indent 1, sorted keys, a trailing newline."""
    return json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def keep_measurements(executed: dict, stored: dict) -> bool:
    """Put the stored outputs of exempt cells into `executed` if the code behind them is unchanged; return whether it was."""
    recorded = stored.get("metadata", {}).get("llmbook", {}).get("measured", {})
    hashes = code_hashes(executed)
    if not hashes or recorded != hashes:
        return False
    outputs = {cell.get("id"): cell.get("outputs", []) for cell in stored["cells"] if cell["cell_type"] == "code"}
    for cell in executed["cells"]:
        if is_exempt(cell):
            cell["outputs"] = copy.deepcopy(outputs[cell["id"]])
    return True


def is_normal(text: str) -> bool:
    """Is this notebook text exactly what the normaliser would store, with outputs and seconds that belong to the code?"""
    normal = normalise(json.loads(text))
    kept = normal["metadata"].get("llmbook", {})
    same_code = kept.get("run", {}).get("code", code_hash(normal)) == code_hash(normal)
    return text == dumps(normal) and kept.get("measured", {}) == code_hashes(normal) and same_code


# ---------------------------------------------------------------- execution


def cell_name(nb: dict, index: int) -> str:
    first = next((line for line in joined(nb["cells"][index]["source"]).splitlines() if line.strip()), "")
    return f"cell {index + 1} ({first.strip()[:70]})"


def check_outputs(name: str, nb: dict) -> None:
    """Raise ExecutionError for output that must not be stored."""
    for index, cell in enumerate(nb["cells"]):
        for output in cell.get("outputs", []):
            if output["output_type"] == "stream" and output["name"] == "stderr":
                text = joined(output["text"]).strip().splitlines()
                raise ExecutionError(
                    f"{name}: {cell_name(nb, index)} writes to stderr: {text[-1][:200] if text else ''}\n"
                    "  Cells must not: pass progress=False to silence a progress bar, and cure the cause of a warning."
                )
            if output["output_type"] == "error" and MAY_RAISE not in tags_of(cell):
                raise ExecutionError(f"{name}: {cell_name(nb, index)} raises {output['ename']}: {output['evalue']}")


def run_cells(path: Path, nb: dict, timeout: int) -> dict:
    """Execute a copy of `nb` top to bottom in the folder of `path`, in a fresh kernel."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    work = nbformat.reads(json.dumps(nb), as_version=4)
    for cell in work.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        work,
        kernel_name="python3",
        timeout=timeout,
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=40"],  # ipykernel 7 warns at every start that local TCP is not encrypted
    )
    name = display_name(path)
    try:
        client.execute()
    except CellExecutionError as error:
        failed = next(
            (i for i, cell in enumerate(work.cells) if any(o["output_type"] == "error" for o in cell.get("outputs", []))), 0
        )
        trace = re.sub(r"\x1b\[[0-9;]*m", "", error.traceback).strip().splitlines()
        raise ExecutionError(
            f"{name}: {cell_name(work, failed)} raises {error.ename}: {error.evalue}\n"
            + "\n".join("  | " + line for line in trace[-25:])
        ) from None
    except CellTimeoutError as error:
        raise ExecutionError(f"{name}: a cell ran longer than {timeout} s (see --timeout): {str(error)[:200]}") from None
    except DeadKernelError as error:
        raise ExecutionError(f"{name}: the kernel died: {error}") from None
    return json.loads(nbformat.writes(work))


def write_text_atomic(path: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, path.stat().st_mode if path.exists() else 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def execute(path: Path, fresh: bool = False, times: bool = False, timeout: int = 900) -> str:
    """Execute one notebook and store it; return `unchanged` or `stored`.

    Stored measurements stay as long as their code does: all of them are renewed if `fresh`, the notebook's seconds if `times`.
    """
    text = path.read_text(encoding="utf-8")
    stored, start = json.loads(text), time.monotonic()
    executed = normalise(run_cells(path, normalise(stored), timeout))
    run = {"code": code_hash(executed), "seconds": round(time.monotonic() - start, 1)}
    check_outputs(display_name(path), executed)
    kept = not fresh and keep_measurements(executed, stored)
    if not (fresh or times) and stored_run(stored).get("code") == run["code"]:
        run = stored_run(stored)
    measured = stored["metadata"]["llmbook"]["measured"] if kept else code_hashes(executed)
    executed["metadata"]["llmbook"] = {"measured": measured, "run": run}
    new = dumps(normalise(executed))
    if new == text:
        return "unchanged"
    write_text_atomic(path, new)
    return "stored"


def environment() -> dict[str, str]:
    """Variables for every kernel: artifacts inside the project, and nothing of the caller's that changes an output."""
    return {
        "LLMBOOK_HOME": str(ROOT / ".workspace"),
        "PYTHONHASHSEED": "0",
        "JUPYTER_PLATFORM_DIRS": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }


# ---------------------------------------------------------------- finding notebooks, the command line


def display_name(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def select(paths: list[str]) -> list[Path]:
    """Return the notebooks that the arguments name, in the order of the table of contents."""
    book = [ROOT / f"{entry}.ipynb" for entry in toc.notebooks()]
    if not paths:
        return book
    chosen: list[Path] = []
    for given in map(Path, paths):
        path = given.resolve()
        if path.is_dir():
            chosen += sorted(p for p in path.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
        elif path.suffix == ".ipynb" and path.exists():
            chosen.append(path)
        else:
            raise ExecutionError(f"{given}: no such notebook or folder")
    order = {path: position for position, path in enumerate(book)}
    return sorted(dict.fromkeys(chosen), key=lambda path: (order.get(path, len(order)), str(path)))


def one(arguments: tuple[Path, bool, bool, int]) -> tuple[Path, str, float, str]:
    path, fresh, times, timeout = arguments
    start = time.monotonic()
    try:
        return path, execute(path, fresh, times, timeout), time.monotonic() - start, ""
    except ExecutionError as error:
        return path, "FAILED", time.monotonic() - start, str(error)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", help="notebooks or folders (default: all of _toc.yml)")
    parser.add_argument("--fresh", action="store_true", help="replace the stored outputs of measured cells too")
    parser.add_argument("--times", action="store_true", help="replace the stored seconds of the notebooks")
    parser.add_argument("--check", action="store_true", help="only report notebooks that are not in normal form")
    parser.add_argument("-n", type=int, default=1, metavar="WORKERS", help="notebooks at a time (default 1)")
    parser.add_argument("--timeout", type=int, default=900, metavar="SECONDS", help="limit per cell (default 900)")
    options = parser.parse_args()
    try:
        notebooks = select(options.paths)
    except ExecutionError as error:
        print(error, file=sys.stderr)
        return 1
    if options.check:
        bad = [path for path in notebooks if not is_normal(path.read_text(encoding="utf-8"))]
        for path in bad:
            print(f"{display_name(path)}: not in normal form; run make execute NB={display_name(path)}")
        return 1 if bad else 0
    os.environ.update(environment())
    os.environ.pop("MPLBACKEND", None)  # any value would keep the kernel from showing figures inline
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // options.n)))
    jobs = [(path, options.fresh, options.times, options.timeout) for path in notebooks]
    failures, total = [], 0.0
    with ProcessPoolExecutor(options.n) if options.n > 1 else _Inline() as pool:
        for path, outcome, seconds, message in pool.map(one, jobs):
            print(f"{outcome:9s} {seconds:6.1f} s  {display_name(path)}", flush=True)
            total += seconds
            if message:
                failures.append(message)
    print(f"{'together':9s} {total:6.1f} s  {len(jobs)} notebooks")
    for message in failures:
        print(f"\n{message}", file=sys.stderr)
    return 1 if failures else 0


class _Inline:
    """A pool of one that runs in this process."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return False

    map = staticmethod(map)


if __name__ == "__main__":
    sys.exit(main())
