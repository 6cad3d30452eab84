# Each target sets up .venv itself when it is missing or older than pyproject.toml or constraints.txt.
PYTHON ?= python3
DATA ?= digits
export OMP_NUM_THREADS ?= 1

BIN := .venv/bin
STAMP := .venv/.installed
ANALYSIS := .venv-analysis
ANALYSIS_STAMP := $(ANALYSIS)/.installed
ANALYSIS_NEEDS := "arviz>=1" "h5netcdf[h5py]" jinja2 matplotlib numpy scipy xarray pytest pytest-xdist

# A python3.12 that runs and can make an environment: a version manager's shim may exist and refuse.
PYTHON312 ?= $(shell for p in python3.12 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.12*/bin/python3.12; do \
	"$$p" -c 'import ensurepip, sys, venv; assert sys.version_info[:2] == (3, 12)' >/dev/null 2>&1 \
	&& { echo "$$p"; break; }; done)

.PHONY: help compare study test test-all test-main test-analysis lint bench soak clean

help:
	@echo 'make compare             train and compare the models on DATA (default digits): runs/compare/report.html'
	@echo 'make study NAME=compare  run one study and its report: runs/NAME/report.html'
	@echo 'make test                the tests, and the analysis tests again under Python 3.12 if there is one'
	@echo 'make test-all            the same with the slow tests'
	@echo 'make lint                style, and the walls between the packages'
	@echo 'make bench | make soak   measure time | look for leaks and drift'
	@echo 'make clean               remove environments and caches (never runs/)'

compare: $(STAMP)
	$(BIN)/python -m inference.study compare --data $(DATA) --out runs/compare --resume
	$(BIN)/python -m analysis.report runs/compare

study: $(STAMP)
	@test -n "$(NAME)" || { echo 'make study NAME=: no name given; say which one, for example make study NAME=compare' >&2; exit 2; }
	$(BIN)/python -m inference.study $(NAME) --data $(DATA) --out runs/$(NAME) --resume
	$(BIN)/python -m analysis.report runs/$(NAME)

test: test-main test-analysis
test-all: MARKS = -m "not bench and not soak"
test-all: test-main test-analysis

test-main: $(STAMP)
	$(BIN)/python -m pytest -n 2 $(MARKS)

# The same analysis tests with ArviZ 1.x and no torch: proof that analysis needs neither.
test-analysis: test-main
ifeq ($(strip $(PYTHON312)),)
	@echo "lanes: $$($(BIN)/python --version) ran; Python 3.12 with ArviZ 1.x and no torch was skipped: no working python3.12 found"
else
	$(MAKE) --no-print-directory $(ANALYSIS_STAMP) PYTHON312="$(PYTHON312)"
	$(ANALYSIS)/bin/python -m pytest -n 2 $(MARKS) tests/analysis
	@echo "lanes: $$($(BIN)/python --version) ran; Python 3.12 with ArviZ 1.x and no torch ran; none was skipped"
endif

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m pytest -m bench -s

soak: $(STAMP)
	$(BIN)/python -m pytest -m soak -s

clean:
	rm -rf .venv .venv-analysis .pytest_cache .ruff_cache .import_linter_cache build dist *.egg-info
	find ppl_models inference analysis tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last: an installation that fails is tried again, from a fresh environment.
$(STAMP): pyproject.toml constraints.txt
	@echo 'setting up .venv (a minute or two)'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install -qq --disable-pip-version-check \
		--constraint constraints.txt --editable ".[test,track]"
	touch $@

$(ANALYSIS_STAMP): pyproject.toml constraints.txt
	"$(PYTHON312)" -m venv --clear $(ANALYSIS)
	$(ANALYSIS)/bin/python -m pip install -qq --disable-pip-version-check \
		--constraint constraints.txt $(ANALYSIS_NEEDS)
	$(ANALYSIS)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --editable .
	$(ANALYSIS)/bin/python -c "import importlib.util as u; assert not u.find_spec('torch'), 'torch is here'"
	touch $@
