.PHONY: env demo test test-fast check bench generate pins hooks clean
.DEFAULT_GOAL := env

env:        # .venv with the project (editable) and its tools
	@sh tools/env.sh
