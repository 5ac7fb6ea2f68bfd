# Building a Large Language Model from Scratch: every command of the project. `make` alone lists them.
# Works with GNU make 3.81, which macOS has.
#
#   PYTHON=python3.12                 the interpreter from which .venv is made
#   BOOK_FLAGS="-W -n --keep-going"   passed to jupyter-book: warnings are errors, as on every commit
#   PYTEST_FLAGS="-x"                 passed to pytest by `make test` and `make test-portable`
#   WORKERS=2                         processes that share the tests

SHELL := /bin/bash
.DEFAULT_GOAL := help
.SUFFIXES:
.PHONY: help env book pdf test test-portable lint export execute exercises grade lab clean

PYTHON ?= python3
BOOK_FLAGS ?=
PYTEST_FLAGS ?=
SUBMISSIONS ?=
EXERCISE ?=
GRADE_FLAGS ?=
WORKERS ?= 2
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
READY := $(VENV)/.ready

# Notebooks and tests keep their artifacts in the project, whatever the reader's own cache holds, and need no network.
execute test test-portable: export LLMBOOK_HOME := $(CURDIR)/.workspace
execute test test-portable: export PYTHONHASHSEED := 0
execute test test-portable: export TOKENIZERS_PARALLELISM := false
execute test test-portable: export HF_HUB_OFFLINE := 1
export JUPYTER_PLATFORM_DIRS := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1
# Two workers share the cores; without this each would use them all.
THREADS := $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); t=$$(( n / $(WORKERS) )); echo $$(( t > 0 ? t : 1 )))

help:
	@echo "make book      set up .venv and render the HTML book from the stored outputs"
	@echo "make test      lint, house rules, every cell of every chapter, the package's tests, the pages"
	@echo "make test-portable  notebooks and tests under another machine's arithmetic"
	@echo "make lint      ruff: mistakes, order of imports, format"
	@echo "make pdf       the book as a PDF (needs XeLaTeX; says which packages)"
	@echo "make lab       JupyterLab on the chapters"
	@echo "make export    write llmbook/ from the notebooks"
	@echo "make execute   run the notebooks and store their outputs   [NB=path] [FRESH=1] [TIMES=1]"
	@echo "make exercises make the students' notebooks from the masters"
	@echo "make grade     grade a folder of notebooks   SUBMISSIONS=folder [EXERCISE=03_attention] [GRADE_FLAGS=--no-hidden-source]"
	@echo "make clean     remove what was built (keeps .venv and the workspace)"

# ---------------------------------------------------------------- environment

env: $(READY)

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	  echo "make: $(PYTHON) not found. Install Python 3.11 or newer, or name one: make book PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: $$($(PYTHON) --version 2>&1) is too old: the book needs Python 3.11 or newer. Name one: make book PYTHON=python3.12" >&2; exit 1; }
	@if [ -e $(VENV) ] && ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  echo "The Python in $(VENV) is broken or too old; making it anew"; rm -rf $(VENV); fi
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "make: could not make $(VENV). On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing the pinned environment into $(VENV) (some minutes the first time)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[book,test,instructor]'
	@touch $@

# ---------------------------------------------------------------- the book

book: $(READY)
	@$(BIN)/python -m tools.build html $(BOOK_FLAGS)

pdf: $(READY)
	@$(BIN)/python -m tools.build pdf $(BOOK_FLAGS)

# ---------------------------------------------------------------- notebooks

export: $(READY)
	@$(BIN)/python -m tools.export

execute: export
	@$(BIN)/python -m tools.execute $(if $(FRESH),--fresh) $(if $(TIMES),--times) $(NB)

lab: $(READY)
	@$(BIN)/jupyter lab --ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/chapters

# ---------------------------------------------------------------- exercises

exercises: $(READY)
	@$(BIN)/python -m exercises.grading.students

grade: $(READY)
	@[ -n "$(SUBMISSIONS)" ] || { echo "make: name the folder that holds the notebooks: make grade SUBMISSIONS=folder" >&2; exit 2; }
	@$(BIN)/python -m exercises.grading "$(SUBMISSIONS)" $(if $(EXERCISE),--exercise "$(EXERCISE)") $(GRADE_FLAGS)

# ---------------------------------------------------------------- tests

PYTEST = OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder \
  --nbval --nbval-cell-timeout=900 $(PYTEST_FLAGS)

# Both parts run, so that one look shows everything that is wrong.
test: $(READY)
	@failed=; start=$$SECONDS; \
	echo "== lint: ruff over notebooks, tests, benchmarks and tools"; \
	$(MAKE) -s lint || failed="$$failed lint"; \
	echo "== house rules, every cell of the chapters, the package against its oracles, exercises, pages"; \
	$(PYTEST) tests chapters || failed="$$failed tests"; \
	if [ -n "$$failed" ]; then echo "FAILED after $$((SECONDS - start)) s:$$failed" >&2; exit 1; fi; \
	echo "All passed in $$((SECONDS - start)) s."

# What does no arithmetic is left out: the house rules, the pages, and of the exercises all but the reference answers.
test-portable: THREADS := 1
test-portable: $(READY)
	@start=$$SECONDS; \
	$(BIN)/python -m tools.portable env $(PYTEST) tests chapters --ignore=tests/house --ignore=tests/book \
	  -k "not exercises or reference_earns_full_marks" && \
	echo "All passed in $$((SECONDS - start)) s under another arithmetic."

lint: $(READY)
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet .

clean:
	@rm -rf _build .pytest_cache .hypothesis build *.egg-info
	@find . -name .venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -print0 | xargs -0 rm -rf
	@[ ! -x $(BIN)/python ] || rm -f $(READY)
	@echo "Removed what was built. $(VENV) and .workspace stay; delete them by hand to start from nothing."
