# `make bench` and `make test` work on a fresh clone: both set up what they need first.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: setup setup-test bench test test-slow test-slurm lint kernels browser fashion-mnist slurm clean

setup: $(VENV)/.installed
setup-test: $(VENV)/.installed-test

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo 'installing PyTorch, timm and the rest into $(VENV); the first time takes some minutes'
	$(VENV)/bin/pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(VENV)/bin/pip install --quiet --editable '.[test]'
	@touch $@

# Two probes, nine mixers, three seeds, on two cores; how fast each mixer is; then the tables of what completed.
bench: setup
	@status=0; \
	$(RUN) run.py experiment=probes platform=local platform.processes=2 || status=$$?; \
	$(RUN) run.py experiment=probes task=speed task.warmup_seconds=0.5 task.seconds=1 || status=$$?; \
	$(RUN) run.py task=table sweep=probes && exit $$status

test: setup-test browser
	$(RUN) -m pytest -n auto --dist worksteal --durations=15

test-slow: setup-test browser fashion-mnist
	$(RUN) -m pytest -n auto --dist worksteal -m slow --durations=15

# Sweeps on a real Slurm that the tests start on this machine, one after another: they wait more than they compute.
test-slurm: setup-test slurm
	$(RUN) -m pytest -m slurm --durations=15 tests/slurm

lint: setup-test
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/lint-imports

# The kernels for this machine; otherwise they are compiled when first used.
kernels: setup
	$(RUN) -m mixers.kernels

# The report's test opens it in Chromium; Debian's package is taken where there is none.
browser:
	@command -v chromium > /dev/null || { \
		sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
		echo 'installing chromium for the report test'; \
		$$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends chromium > /dev/null; }

# Real images for the longer tests, and for experiment=fashion_mnist.
fashion-mnist:
	@[ -d /usr/share/datasets/fashion-mnist ] || { \
		sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
		echo 'installing Fashion-MNIST'; \
		$$sudo apt-get update -qq && $$sudo apt-get install -y -qq dataset-fashion-mnist > /dev/null; }

# Slurm and what it needs, for test-slurm and `python -m tests.slurm`. Debian starts no service that is not configured.
SLURM := slurmctld slurmd slurmdbd slurm-client munge mariadb-server-core mariadb-client-core
slurm:
	@{ PATH="$$PATH:/usr/sbin:/sbin"; \
	command -v slurmctld && command -v slurmd && command -v slurmdbd && command -v munged && command -v mariadbd && \
	command -v mariadb-install-db && command -v sbatch; } > /dev/null || { \
		sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
		echo 'installing Slurm for its tests'; \
		$$sudo apt-get update -qq && \
		$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SLURM) > /dev/null; }

clean:
	rm -rf $(VENV) runs
