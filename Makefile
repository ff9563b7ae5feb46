# The two commands of a newcomer are `make acceptance` and `make test`. Each sets up .venv first.
.PHONY: help setup acceptance test test-peers bench validate-method lint constraints clean
.DEFAULT_GOAL := help

help:
	@echo "make acceptance   run the suites on the virtual testbed, plan smoke; ends with verdicts and a report"
	@echo "make test         run the project's own checks and tests"
	@echo "make bench        measure the instrument beside other tools (docs/benchmarks.md)"
	@echo "make validate-method  validate the instrument itself (docs/explanation/validation.md)"
	@echo "make test-peers   run the tests against outside tools (root; installs packages.debian)"

setup:
	@tools/setup

acceptance: setup
	@mkdir -p out && rm -f out/exit_code; \
	.venv/bin/hil run suites --testbed virtual --plan smoke; code=$$?; \
	echo $$code > out/exit_code; echo "exit code $$code"; exit $$code

lint: setup
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

test: lint
	.venv/bin/python -m pytest tests --ignore tests/peers

test-peers: setup
	@tools/peers

bench: setup
	@.venv/bin/hil bench rates && .venv/bin/hil bench times

validate-method: setup
	@.venv/bin/hil validate-method

# The pins: every dependency of every extra, for all supported Pythons, without a download address.
constraints:
	uv pip compile --universal --python-version 3.11 --all-extras --upgrade --no-header --no-annotate \
	    --no-emit-index-url pyproject.toml --output-file constraints.txt

clean:
	rm -rf out .mypy_cache .ruff_cache .pytest_cache .hypothesis
