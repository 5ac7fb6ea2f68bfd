"""Write the package llmbook/ from the notebooks, or check that it is what they would write.

python -m tools.export            write: nbdev-export, copy texts, then remove what has no source any more
python -m tools.export --check    change nothing; list every difference and fail if there is one
"""

from __future__ import annotations

import argparse
import difflib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def exported(root: Path, target: Path) -> Path:
    """Export the notebooks of `root` into an empty package below `target`; return the package's folder."""
    shutil.copy2(root / "pyproject.toml", target)
    shutil.copytree(root / "chapters", target / "chapters", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    (target / "llmbook").mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "IN_TEST"}
    command = [sys.executable, "-c", "from nbdev.doclinks import nbdev_export; nbdev_export.__wrapped__()"]
    done = subprocess.run(command, cwd=target, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"nbdev-export failed:\n{done.stderr.strip()[-2000:]}")
    for texts in sorted((root / "chapters").glob("*/texts")):  # written for the book, read by a module: chapters/01_data/texts
        shutil.copytree(texts, target / "llmbook" / texts.parent.name.partition("_")[2] / "texts")
    return target / "llmbook"


def files_of(package: Path) -> dict[str, str]:
    """Map the path of each file of a package, relative to it, to its text."""
    paths = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(package).as_posix(): path.read_text(encoding="utf-8") for path in sorted(paths)}


def differences(root: Path) -> list[str]:
    """Compare llmbook/ with what its notebooks export; return one readable entry per differing file."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = files_of(exported(root, Path(folder)))
    present = files_of(root / "llmbook")
    found = []
    for name in sorted(wanted.keys() | present.keys()):
        if name not in present:
            found.append(f"llmbook/{name} is missing: a chapter exports it. Run `make export` and commit the result.")
        elif name not in wanted:
            found.append(f"llmbook/{name} has no source in chapters/. Run `make export`, which removes it, and commit the result.")
        elif wanted[name] != present[name]:
            lines = difflib.unified_diff(
                present[name].splitlines(), wanted[name].splitlines(), f"llmbook/{name}", "exported", lineterm="", n=1
            )
            shown = "\n".join("    " + line for line in list(lines)[:20])
            found.append(
                f"llmbook/{name} differs from its source in chapters/. Edit that, never the package; run `make export` and "
                f"commit the result.\n{shown}"
            )
    return found


def write(root: Path) -> list[str]:
    """Make llmbook/ equal to what the notebooks export; return the names of the files that changed."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = files_of(exported(root, Path(folder)))
    present = files_of(root / "llmbook") if (root / "llmbook").exists() else {}
    changed = [name for name in sorted(wanted.keys() | present.keys()) if wanted.get(name) != present.get(name)]
    for name in changed:
        path = root / "llmbook" / name
        if name in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[name], encoding="utf-8")
        else:
            path.unlink()
    return changed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail on any difference")
    if parser.parse_args().check:
        found = differences(ROOT)
        print("\n".join(found) or "no difference")
        return bool(found)
    for name in write(ROOT):
        print(f"written   llmbook/{name}" if (ROOT / "llmbook" / name).exists() else f"removed   llmbook/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
