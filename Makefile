# Targets for people. `make` alone lists them; cargo does the work, and CARGO_TARGET_DIR is honoured.

CARGO ?= cargo
SIM_LIVES ?= 200000
SIM_RARE_LIVES ?= 50000
FUZZ_SECONDS ?= 10
FAULTS_STRIDE ?= 7

.DEFAULT_GOAL := help
# Schemas that are made of the code.
SCHEMAS = work-order backlog dod verdict findings ledger

.PHONY: help demo build deb check test fuzz proof bench schema clean tools tools-of-tests

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS='	' read -r name text; \
	do printf '  make %-8s %s\n' "$$name" "$$text"; done

demo: tools ## Build it, and watch five work orders run in a scratch repository
	$(CARGO) run --locked -- demo

build: ## Build the binary as it is released
	$(CARGO) build --locked --release

deb: build ## Make a Debian package in target/debian, with units, completions and manual
	@target=$${CARGO_TARGET_DIR:-target}; packaging/deb "$$target/release/jobyard" "$$target/debian"

check: tools ## Form and lints only
	$(CARGO) fmt --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

test: check tools-of-tests ## Form, lints and all tests (about 10 minutes on two processors)
	$(CARGO) test --locked

fuzz: tools ## Fuzz every parser, FUZZ_SECONDS each (docs/fuzzing.md)
	FUZZ_SECONDS=$(FUZZ_SECONDS) fuzz/run

proof: fuzz ## All that can be proved here (docs/proof.md), for long; exits 3 and names what cannot run
	SIM_LIVES=$(SIM_LIVES) $(CARGO) test --locked --release --test sim -- --nocapture lives_ --skip lives_of_rare
	SIM_LIVES=$(SIM_RARE_LIVES) $(CARGO) test --locked --release --test sim -- --nocapture lives_of_rare
	SIM_SEARCH=1 SIM_LIVES=30000 $(CARGO) test --locked --release --test sim -- --nocapture planted_faults_are_found
	@said=$$(mktemp) && trap 'rm -f "$$said"' EXIT; \
	{ FAULTS=all FAULTS_STRIDE=$(FAULTS_STRIDE) $(CARGO) test --locked --test faults -- --nocapture 2>&1; echo "ended with $$?"; } | tee "$$said"; \
	grep -q '^ended with 0$$' "$$said" || exit 1; \
	if grep '^NOT RUN' "$$said"; then exit 3; fi

bench: tools ## Time the hot paths, and a worktree's start beside git's own (docs/performance.md)
	$(CARGO) bench --locked --bench hot_paths
	$(CARGO) bench --locked --bench worktree

schema: ## Write the schemas that are made of the code to schema/
	$(CARGO) build --quiet --locked
	@for name in $(SCHEMAS); do \
	$(CARGO) run --quiet --locked -- schema $$name > schema/$$name.schema.json || exit 1; done

clean: ## Remove what cargo built
	$(CARGO) clean

tools-of-tests:
	@missing=; for tool in zsh fish groff script setpriv unshare; do \
	command -v $$tool >/dev/null 2>&1 || missing="$$missing $$tool"; done; \
	if [ -n "$$missing" ]; then \
	echo "missing:$$missing; on Debian: apt-get install zsh fish groff-base bsdutils util-linux" >&2; exit 1; fi

tools:
	@missing=; for tool in git bash cc $(CARGO); do \
	command -v $$tool >/dev/null 2>&1 || missing="$$missing $$tool"; done; \
	for part in fmt clippy; do $(CARGO) $$part --version >/dev/null 2>&1 || missing="$$missing cargo-$$part"; done; \
	if [ -n "$$missing" ]; then \
	echo "missing:$$missing; on Debian: apt-get install git bash gcc, rustup component add rustfmt clippy" >&2; \
	exit 1; fi
