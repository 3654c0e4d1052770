# Every target does its own set-up: a machine with Python 3.10+ is enough.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

.PHONY: chat test test-full test-arm test-arm-brief pytest checks lint types layers bench bench-disk clean
.PHONY: types-here types-win32 types-darwin

chat: $(VENV)/installed
	$(BIN)/glmq chat

test: $(VENV)/installed-test
	$(MAKE) --jobs $(WORKERS) checks
	$(MAKE) pytest

test-full: $(VENV)/installed-test
	$(MAKE) --jobs $(WORKERS) checks
	$(PYTEST)

pytest: $(VENV)/installed-test
	$(PYTEST) -m "not slow"

# On an emulated 64-bit Arm machine, which is made once in ~/.cache/glmq-arm, or in $$GLMQ_ARM.
test-arm: $(VENV)/installed-test
	$(BIN)/python tests/arm/run.py

test-arm-brief: $(VENV)/installed-test
	$(BIN)/python tests/arm/run.py --brief

# Each keeps one core busy.
checks: lint types layers

lint: $(VENV)/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: types-here types-win32 types-darwin

types-here: $(VENV)/installed-test
	$(BIN)/mypy

types-win32 types-darwin: types-%: $(VENV)/installed-test
	$(BIN)/mypy --platform $* --cache-dir .mypy_cache/$*

layers: $(VENV)/installed-test
	$(BIN)/lint-imports

bench: $(VENV)/installed-bench
	$(BIN)/python bench/peers.py
	$(BIN)/python bench/compare.py
	$(BIN)/python bench/many_sequences.py
	$(BIN)/python bench/few_tokens.py
	GLMQ_ISA=avx2 $(BIN)/python bench/row_kernels.py
	$(BIN)/python bench/row_kernels.py --types Q4_0,Q4_K,Q5_K,Q6_K,Q8_0,IQ4_NL --revision 5d5658f --megabytes 512 --threads 2
	$(BIN)/python bench/few_tokens.py --steps "$$($(BIN)/python bench/synthetic.py Q4_0)"
	$(BIN)/python bench/few_tokens.py --steps "$$($(BIN)/python bench/synthetic.py Q4_K_M)"
	$(BIN)/python bench/step_profile.py "$$($(BIN)/python bench/synthetic.py Q4_0)"
	$(BIN)/python bench/attention.py 128@8192 64@32768
	$(BIN)/python bench/attention.py --rows 128@8192 64@32768
	$(BIN)/python bench/decode_at_depth.py "$$($(BIN)/python bench/synthetic.py Q4_0)"
	$(BIN)/python bench/cache_quality.py --tokens 1024
	$(BIN)/python bench/prediction.py cost
	$(BIN)/python bench/draft_gain.py air-3
	$(BIN)/python bench/drafting.py
	$(BIN)/python bench/draft_overhead.py
	$(BIN)/python bench/serving_drafts.py
	$(BIN)/python bench/guided_drafts.py
	$(BIN)/python bench/long_session.py
	$(BIN)/python bench/session_file.py --tokens 100000 --layers 6 --demo-tokens 0
	$(BIN)/python bench/pages_on_disk.py --tokens 40000 --rounds 2
	$(BIN)/python bench/serving.py
	$(BIN)/python bench/forecast.py --prepare
	$(BIN)/python bench/flash.py near far
	$(BIN)/python bench/latent_attention.py
	$(BIN)/python bench/quantizing.py

bench-disk: $(VENV)/installed-bench
	$(BIN)/python bench/larger_than_memory.py
	$(BIN)/python bench/expert_cache.py --plot docs/expert-cache.svg
	$(BIN)/python bench/flash.py whole

clean:
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

# PyTorch is wanted as its CPU build, which has a number of its own on some package indexes. Python compiles the
# few modules of these packages that are imported when they are; to compile all takes a minute.
$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --no-compile torch==2.13.0 \
		|| $(BIN)/python -m pip install --quiet --no-compile torch
	$(BIN)/python -m pip install --quiet --no-compile --editable ".[test]"
	touch $@

$(VENV)/installed-bench: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable ".[bench]"
	touch $@
