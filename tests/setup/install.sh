#!/bin/sh
# Installs what the closed world needs and this machine lacks (Debian packages); `install.sh build`: only what it takes to
# build. Safe to run any number of times; silent when nothing is missing. Services that come with a package are not started,
# and not at the next boot either.
set -eu
PATH=$PATH:/usr/sbin:/sbin

missing=
need() { # command package
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need cc build-essential
need make make
need pkg-config pkg-config
# OpenSSL's header files are no command.
pkg-config --exists openssl 2>/dev/null || missing="$missing libssl-dev"
if [ "${1:-world}" != build ]; then
    need ip iproute2
    need unshare util-linux
    need setpriv util-linux
    need nft nftables
    need dnsmasq dnsmasq-base
    need ejabberdctl ejabberd
    need erl erlang-base
    need prosody prosody
    need sipp sip-tester
    need kamailio kamailio
    need stunnel stunnel4
    # A module and no command.
    set -- /usr/lib/*/kamailio/modules/tls.so
    [ -e "$1" ] || missing="$missing kamailio-tls-modules"
    need openssl openssl
    need curl curl
    need update-ca-certificates ca-certificates
    need promtool prometheus
    # For the package: what it needs where it is installed, and what looks at it.
    need adduser adduser
    need dpkg-shlibdeps dpkg-dev
    need systemd-analyze systemd
    need groff groff-base
    # A module and no command: for schemathesis, which comes from PyPI.
    /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
fi

if ! command -v cargo >/dev/null 2>&1; then
    echo "cargo is missing: install Rust (https://rustup.rs), version 1.95 or later." >&2
    exit 1
fi
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "Missing:$missing (names of Debian packages). This machine has no apt-get: please install them yourself." >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "Missing Debian packages:$missing" >&2
    echo "Please run as root:  apt-get update && apt-get install$missing" >&2
    exit 1
fi

echo "Installing$missing"
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
made_policy=
clean_up() {
    [ -z "$made_policy" ] || rm -f "$policy"
    rm -f "$log"
}
trap clean_up EXIT
if [ ! -e "$policy" ]; then
    # Debian's way to say: install, but start nothing.
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made_policy=yes
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of words
if ! { apt-get -qq update && apt-get -qq install --yes --no-install-recommends $missing; } >"$log" 2>&1; then
    cat "$log" >&2
    echo "apt-get failed; the packages wanted were:$missing" >&2
    exit 1
fi
if [ -d /run/systemd/system ]; then
    for package in $missing; do
        case $package in
            ejabberd | kamailio | prometheus | prosody | stunnel4) systemctl --quiet disable "$package" 2>/dev/null || true ;;
        esac
    done
fi
