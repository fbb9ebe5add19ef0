#!/bin/bash
# Runs the named stages one after the other, prints how long each took, and stops at the first that fails.
# A test stage in which no test ran has failed.
set -euo pipefail
cd "$(dirname "$0")/../.."

stage_setup() {
    tests/setup/install.sh && tests/setup/install-cargo-deny.sh && tests/setup/install-cargo-deb.sh &&
        tests/setup/install-schemathesis.sh
}
stage_fmt() { cargo fmt --all --check; }
stage_clippy() { cargo clippy --workspace --all-targets -- -D warnings; }
stage_doc() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items; }
# Advisories need the network's index; what is checked here does not.
stage_deny() { cargo fetch --quiet && cargo deny --offline check bans licenses sources; }
stage_unit() { counted cargo test --workspace --exclude nuncio-world && counted cargo test -p nuncio-world --lib; }
stage_interop() { counted cargo test -p nuncio-world --test interop; }

counted() {
    local output
    output=$(mktemp)
    "$@" 2>&1 | tee "$output" || { rm -f "$output"; return 1; }
    local passed
    passed=$(awk '/^test result: ok\. [0-9]+ passed/ { sum += $4 } END { print sum + 0 }' "$output")
    rm -f "$output"
    if [ "$passed" -eq 0 ]; then
        echo "error: no test ran in: $*" >&2
        return 1
    fi
    total_passed=$((total_passed + passed))
}

minutes() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

total_passed=0
begin=$SECONDS
table=
for stage in "$@"; do
    echo "==> $stage"
    started=$SECONDS
    # A function called in a condition would ignore `set -e` inside: hence the && between its commands.
    if "stage_$stage"; then
        table+=$(printf '%-10s %8s\n' "$stage" "$(minutes $((SECONDS - started)))")$'\n'
    else
        printf '%s%-10s %8s  FAILED\n' "$table" "$stage" "$(minutes $((SECONDS - started)))"
        exit 1
    fi
done
echo
printf '%s%-10s %8s  (minutes:seconds)\n' "$table" total "$(minutes $((SECONDS - begin)))"
if [ "$total_passed" -gt 0 ]; then
    echo "$total_passed passed, 0 failed"
fi
