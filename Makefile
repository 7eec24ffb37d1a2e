# Each target is a line or two; what takes more is a script in tools/.
.PHONY: env demo test test-fast e2e-kind bench check image mutants simulate generate pins hooks clean
.DEFAULT_GOAL := env

env:        # .venv with the project (editable) and every tool
	@sh tools/env.sh

demo: env   # the main job, on a real Mesos with the embedded registry and DNS server
	@.venv/bin/python -m testbed.demo

test:       # everything: servers, checks, tests
	@sh tools/test.sh

test-fast: env # the quick tests, which need no server
	@.venv/bin/pytest -q -rs -n auto -m 'not server and not slow'

e2e-kind: env # Waypost as an operator on a real kind cluster, in a Docker engine of its own; as root
	@.venv/bin/python -m e2e.kind

bench: env  # all benchmarks, some twenty minutes on a quiet machine; one: .venv/bin/python -m bench NAME
	@.venv/bin/python -m bench all

check: env  # format, lint, types, layers, tree
	@sh tools/check.sh

simulate: env # N random schedules of the engine from seed FROM on, in JOBS processes; every promise judged on each
	@.venv/bin/python -m tests.simulation --count $(or $(N),1000) --from $(or $(FROM),0) --jobs $(or $(JOBS),1)

mutants: env # flips decisions of the engine, one at a time: the quick tests must see each
	@.venv/bin/python -m tests.mutants

generate: env # crds/, the chart's files and the protobuf modules, from their sources
	@sh tools/generate.sh

image: env # the container image, with a Docker engine; see packaging/image.sh
	@sh packaging/image.sh

pins: env   # requirements/*.txt from pyproject.toml
	@sh tools/pins.sh

hooks: env  # run the checks before each commit
	@.venv/bin/pre-commit install

clean:      # everything that git ignores, .venv included
	@git clean -fdXq
