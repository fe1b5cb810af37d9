# `make demo` shows the main job from packing to annotated photos; `make test` runs the checks and the tests.
# Both set themselves up: a virtual environment in .venv with the exact versions of the requirements files.

.PHONY: setup demo test check bench clean
.NOTPARALLEL:

# MXNet 1.9.1 and numpy 1.26 exist for Python 3.11 and 3.12.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3,$(if $(shell $(p) -c "print(1)" 2>/dev/null),$(p))))
BIN := .venv/bin
PY := $(BIN)/python
READY := .venv/.ready
DEMO := output/demo
# A photo with six faces that comes with insightface; finding it does not import the package.
SIX_FACES := $(PY) -c "from importlib.util import find_spec as f; print(f('insightface').submodule_search_locations[0] + '/data/images/t1.jpg')"

setup: $(READY)

$(READY): requirements.txt requirements-torch.txt requirements-ray.txt requirements-serve.txt requirements-serve-ray.txt requirements-dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python found: install Python 3.11 or 3.12"; exit 1; }
	@$(PYTHON) -c "import sys; v = sys.version_info[:2]; sys.exit(None if v in ((3, 11), (3, 12)) else f'Python {v[0]}.{v[1]} has no MXNet wheel: run make PYTHON=python3.11 (or 3.12)')"
	@echo "setup: installing MXNet, PyTorch, Ray and all else of the requirements files into .venv, about 3 GB; pip says nothing for some minutes"
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-torch.txt -r requirements-ray.txt -r requirements-serve.txt -r requirements-serve-ray.txt -r requirements-dev.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(PY) -m pip check
	@touch $(READY)

demo: setup
	@echo "demo 1/6: drawing 2400 faces and packing them"
	$(PY) create_dataset.py --synthetic 2400 --output $(DEMO)/dataset
	@echo "demo 2/6: a page of these faces"
	$(PY) tools/rec.py show $(DEMO)/dataset/train.rec --output $(DEMO)/synthetic_faces.png
	@echo "demo 3/6: a chart of their ages"
	$(PY) show_age_distribution.py --rec $(DEMO)/dataset/train.rec --output $(DEMO)/age_distribution.png
	@echo "demo 4/6: training a small network (ssrnet) on them, 5 epochs"
	$(PY) train.py --network ssrnet --data_dir $(DEMO)/dataset --prefix $(DEMO)/ssrnet/model --batch_size 64 --end_epoch 5
	@echo "demo 5/6: how well it tells the age of drawn faces that it has not seen"
	$(PY) eval.py --model $(DEMO)/ssrnet/model --data $(DEMO)/dataset/val.rec --plot $(DEMO)/synthetic_scatter.png
	@echo "demo 6/6: age and gender in two real photos, with the shipped model m50"
	$(PY) infer.py --model m50 --output $(DEMO)/photos --image test.jpg $$($(SIX_FACES))
	@echo "pictures: $(DEMO)/*.png, $(DEMO)/ssrnet/curves.png, $(DEMO)/photos/"

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check
	$(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# Each prints a table and ends with 1 where a target of its own is missed; all of them run.
bench: setup
	@status=0; for name in loader packing train_cpu open_index infer; do \
		echo "$(PY) benchmarks/$$name.py"; $(PY) benchmarks/$$name.py || status=1; echo; \
	done; exit $$status

clean:
	rm -rf .venv build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache $(DEMO)
