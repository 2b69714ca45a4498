# One file of commands; `make help` lists them. Everything below installs what it needs by itself.
.DEFAULT_GOAL := help
.PHONY: help up test check fix prove prove-machine bench screenshots reset lock migrations
SHELL := /bin/sh

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

up: ## Run the portal here: installs, migrates, starts everything, prints where to look
	@dev/with run python -m dev.up

test: ## Set up and run the whole test suite
	@dev/with dev python -m dev.test

check: ## Format, lint, types, import contracts, system checks, migrations
	@dev/with dev python -m dev.check

fix: ## Let the formatters and the linter repair what they can
	@dev/with dev sh -c 'ruff check --fix . ; ruff format . ; git ls-files -z "templates/*.html" | xargs -0 djade --target-version 6.0'

prove: ## The full counts behind the promises (up to 75 minutes)
	@dev/with dev python -m dev.test --prove

prove-machine: ## The machine over all of billing: make prove-machine RUNS=20000; goes on where it was stopped
	@dev/with dev python -m dev.prove_machine $(RUNS)

bench: ## Print every benchmark's table; results are kept in var/bench/
	@dev/with dev python -m bench

screenshots: ## Picture every page in both themes and several widths into var/screenshots/
	@dev/with dev python -m dev.screenshots

migrations: ## Make migrations for changed models: make migrations APP=billing NAME=invoice_sequence
	@dev/with dev python -m dev.manage makemigrations $(APP) -n $(NAME)

reset: ## Stop what is left of an earlier run and empty its data
	@dev/with run python -m dev.reset

lock: ## Resolve the dependencies of pyproject.toml into the two lock files
	@dev/with dev dev/lock
