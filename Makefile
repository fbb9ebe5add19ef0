.PHONY: help demo test check bench package setup

help: ## show the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile

demo: ## bring up a closed world and show messages and presence going both ways
	@tests/setup/install.sh
	@cargo run --quiet -p nuncio-world --bin demo

test: ## everything that CI runs, with the time of each stage
	@tests/setup/stages.sh setup fmt clippy doc deny unit interop

check: ## format, lints, documentation, licences: everything but tests
	@tests/setup/install.sh build
	@tests/setup/install-cargo-deny.sh
	@tests/setup/stages.sh fmt clippy doc deny

bench: ## the benchmark, in release mode
	@cargo run --release -p nuncio-bench

package: ## build the Debian package, target/debian/nuncio_*.deb
	@tests/setup/install-cargo-deb.sh
	@cargo build --release --bins -p nuncio -p nuncio-packaging
	@target/release/package-files target/release/package
	@cargo deb --no-build

setup: ## install what the tests and the demonstration need (Debian packages, as root)
	@tests/setup/stages.sh setup
