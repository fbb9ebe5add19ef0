#!/bin/sh
# Installs cargo-deb unless it is there. It takes one to two minutes to build on two cores; only once, since it stays in
# cargo's folder.
set -eu
if ! cargo deb --version >/dev/null 2>&1; then
    echo "Installing cargo-deb (builds it: one to two minutes)"
    cargo install --quiet --locked cargo-deb@3.8.0
fi
