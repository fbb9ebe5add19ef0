#!/bin/sh
# Installs cargo-deny unless it is there. It takes two to three minutes to build; a package with a ready binary would be
# one more party to trust.
set -eu
if ! cargo deny --version >/dev/null 2>&1; then
    echo "Installing cargo-deny (builds it: two to three minutes)"
    cargo install --quiet --locked cargo-deny@0.20.2
fi
