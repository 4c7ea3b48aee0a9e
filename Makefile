# The verbs of this project. A fresh machine needs only python3 (3.11 or later) with venv, and make.
.PHONY: story test quick check fix bench bench-short torture torture-short locked wheel audit page page-check clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
STORY := $(VENV)/.story

# Train on the bundled fable, telling at every step or two so that one sees it learn; then tell two stories: one from its own words, one from words in an order it never had.
story: $(STORY)
	$(BIN)/fabula train src/fabula/data/belling_the_cat.txt -o story --force --set training.evaluations=500
	@echo
	$(BIN)/fabula write story -p "had a general" --words 32 --temperature 0
	@echo
	$(BIN)/fabula write story -p "mouse mouse mouse" --words 32

test: $(READY)
	$(BIN)/python -m pytest -n 2

# Without the tests that start processes, servers and browsers: three minutes instead of twenty.
quick: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not long"

check: $(READY)
	$(BIN)/ruff check src tests benchmarks docs examples torture supply
	$(BIN)/ruff format --check src tests benchmarks docs examples torture supply
	$(BIN)/pyrefly check
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m supply.audit --tell

fix: $(READY)
	$(BIN)/ruff check --fix src tests benchmarks docs examples torture supply
	$(BIN)/ruff format src tests benchmarks docs examples torture supply
	$(BIN)/python docs/generate.py

bench: $(READY)
	$(BIN)/python benchmarks/fable.py
	$(BIN)/python benchmarks/first_word.py
	$(BIN)/python benchmarks/writing.py
	$(BIN)/python benchmarks/storytelling.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/workers.py
	$(BIN)/python benchmarks/studio.py
	$(BIN)/python benchmarks/encodings.py
	$(BIN)/python benchmarks/lesson.py
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/vocabulary.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/expectation.py
	$(BIN)/python benchmarks/quality.py --peers

# Beside the peers, in about five minutes.
bench-short: $(READY)
	$(BIN)/python benchmarks/speed.py --rounds 1 --time 0
	$(BIN)/python benchmarks/quality.py --peers --short

# Fed with anything, killed, starved and interrupted until one believes it: about an hour. The short form takes some two minutes.
torture: $(READY)
	$(BIN)/python -m torture

torture-short: $(READY)
	$(BIN)/python -m torture --quick

# Development with the very files that were locked; LOCK=torch.txt for the torch that registries have.
LOCK ?= torch-cpu.txt
locked:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r locks/dev.txt -r locks/$(LOCK)
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(READY) $(STORY)

# The wheel twice, with the same bytes, and the list of its parts.
wheel: $(READY)
	$(BIN)/python -m supply.wheel
	$(BIN)/python -m supply.sbom > dist/sbom.json

audit: $(READY)
	$(BIN)/pip install --quiet pip-audit
	$(BIN)/python -m supply.audit

# The studio page, built from web/ into the package; only who changes it needs node.
NPM := $(shell command -v npm 2>/dev/null)
BUILT := src/fabula/studio/page

page:
ifdef NPM
	cd web && npm ci --no-fund --no-audit && npm run check && npm run build
else
	@echo "no npm here: the page in $(BUILT) stays as it is"
endif

# That what is built and committed is what the sources build.
page-check:
ifdef NPM
	@if cd web && npm ci --no-fund --no-audit; then \
	    npm run check && npm run build -- --outDir ../build/page && diff -r ../$(BUILT) ../build/page && rm -r ../build/page; \
	else echo "what the page is built with cannot be had here: $(BUILT) is not compared with its sources"; fi
else
	@echo "no npm here: the page in $(BUILT) is not compared with its sources"
endif

clean:
	rm -rf $(VENV) story dist build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STORY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[train,chat,formats,serve]'
	touch $(STORY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY) $(STORY)
