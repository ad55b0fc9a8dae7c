# Everything runs in `.venv`, which the set-up makes; see CONTRIBUTING.md.
PYTHON ?= python3
SOURCE ?=
PACE ?= lockstep
OUT ?= out/demo
MINUTES ?= 30
SCENARIOS ?=
# More options for pytest, for example PYTEST='-k detector'.
PYTEST ?=
# Through the environment, so that the shell never reads a quote in a file name.
export SOURCE PACE OUT
# Of a machine where torch cannot be imported, as that of a robot.
WITHOUT_TORCH = PYTHONPATH=$(CURDIR)/test/helpers/without_torch$${PYTHONPATH:+:$$PYTHONPATH}

# The data of trainings and the clips of some tests, where they lie beside the checkout.
ifneq ($(wildcard ../shared/data),)
export TRANS3DHEAD_DATA ?= $(abspath ../shared/data)
endif

.PHONY: setup demo docs check test test-robot soak lint clean

setup:
	@$(call set_up,runtime torch training test)

demo:
	@$(call set_up,runtime)
	@.venv/bin/python -m trans3dhead_ros.ros.demo.demo --source "$$SOURCE" --pace "$$PACE" --output "$$OUT"

# Warnings are errors, such as a link to a page that is not there.
docs:
	@$(call set_up,runtime docs)
	@.venv/bin/sphinx-build -q -W --keep-going -c docs . out/site
	@echo out/site/docs/index.html

# A process on each core: threads of their own would slow one another down.
PARALLEL = OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n auto --dist worksteal

check: setup lint
	@$(PARALLEL) -m unit $(PYTEST)

# pytest's code 5 is "no tests": a choice by PYTEST may leave one part empty.
test: setup lint
	@$(PARALLEL) -m 'not alone' $(PYTEST); together=$$?; \
	.venv/bin/python -m pytest -m alone $(PYTEST); alone=$$?; \
	for code in $$together $$alone; do [ $$code = 0 ] || [ $$code = 5 ] || exit $$code; done

test-robot: setup
	@$(WITHOUT_TORCH) $(PARALLEL) -m 'not train and not alone' test/trans3dhead_ros $(PYTEST)

soak: setup
	@PYTHONPATH="test:test/helpers:.$${PYTHONPATH:+:$$PYTHONPATH}" .venv/bin/python -m tools.soak --minutes $(MINUTES) $(SCENARIOS)

lint:
	@.venv/bin/ruff check .
	@.venv/bin/pydoclint --config pydoclint.toml --quiet trans3dhead_ros trans3dhead_training tools

clean:
	rm -rf .venv build install log out

# The script itself needs a current Python to say more than a syntax error.
define set_up
command -v $(PYTHON) > /dev/null || { \
  echo 'set-up: $(PYTHON) is missing: sudo apt install python3 python3-venv python3-dev' >&2; exit 1; }; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
  echo 'set-up: $(PYTHON) is older than 3.10; name another one: make PYTHON=python3.12' >&2; exit 1; }; \
$(PYTHON) scripts/set_up.py $(1)
endef
