# make demo   sample recordings -> shards -> a trained policy, in an environment of its own
# make test   lint, types and tests, in the same environment
# make bench  side by side with the peers, in a second environment
# make gpu-check  whether a GPU computes what it should, and how fast; minutes, no network once all is installed

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
PEERS := .venv-bench/.installed

.PHONY: demo demo-run demo-run-without-memory demo-play demo-play-without-memory test bench gpu-check clean

# The policy's layers are small here: one thread is as fast as two, and leaves a core to the loader.
demo: export OMP_NUM_THREADS = 1
demo: $(INSTALLED)
	rm -rf demo
	$(BIN)/rocket-prep make-sample demo/recordings
	$(BIN)/rocket-prep build-shards demo/recordings --out demo/dataset frame_width=64 frame_height=64
	$(BIN)/rocket-prep inspect demo/dataset
	@echo "# Half a run, then the rest of it from its checkpoint. Beside it, on the other core, the same run with its"
	@echo "# memory emptied before every window."
	@$(MAKE) --no-print-directory --jobs=2 demo-run demo-run-without-memory
	$(BIN)/rocket-train compare demo/run demo/run-without-memory
	@echo "# Does it play? A bell must be rung as a lamp said more than a window before; chance wins half."
	@$(MAKE) --no-print-directory --jobs=2 demo-play demo-play-without-memory
	@echo "# The same policy with its memory emptied after every window:"
	@tail -n 2 demo/play-without-memory.log
	@echo
	@echo "recordings  demo/recordings"
	@echo "shards      demo/dataset    look at them:  $(BIN)/rocket-prep report demo/dataset --out demo/report.html"
	@echo "policy      demo/run        its figures:   demo/run/metrics.csv"
	@echo "With your own recordings:"
	@echo "    $(BIN)/rocket-prep build-shards RECORDINGS --out DATASET"
	@echo "    $(BIN)/rocket-train rocket1 data.datasets=DATASET --dry-run"

demo-run:
	$(BIN)/rocket-train demo trainer.max_steps=210
	$(BIN)/rocket-train demo --resume auto

demo-run-without-memory:
	$(BIN)/rocket-train demo trainer.memory=reset run_dir=demo/run-without-memory > demo/run-without-memory.log 2>&1

demo-play:
	$(BIN)/rocket-train play demo/run/weights/step-00000420.ckpt --tasks bell --episodes 200 --lanes 50

demo-play-without-memory:
	$(BIN)/rocket-train play demo/run/weights/step-00000420.ckpt --tasks bell --episodes 200 --lanes 50 --memory reset > demo/play-without-memory.log 2>&1

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

bench: $(INSTALLED) $(PEERS)
	$(BIN)/python -m benchmarks.run

gpu-check: $(INSTALLED)
	$(BIN)/python -m benchmarks.gpu_check

# Installed once, and again only when what is asked for has changed.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# Made anew each time: pip leaves what stands in a target folder. MineStudio has one of its own, since it pins an
# older PyAV than the other peers use.
$(PEERS): benchmarks/requirements.txt benchmarks/minestudio.txt
	rm -rf .venv-bench
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check --requirement benchmarks/requirements.txt
	.venv-bench/bin/pip install --quiet --disable-pip-version-check --no-deps --target .venv-bench/minestudio --requirement benchmarks/minestudio.txt
	touch $@

clean:
	rm -rf .venv .venv-bench build *.egg-info
