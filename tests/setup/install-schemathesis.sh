#!/bin/sh
# Installs schemathesis, which tries the control API by its description, into a folder of its own unless it is there. It takes
# half a minute.
set -eu
version=4.32.5
folder=${XDG_CACHE_HOME:-$HOME/.cache}/nuncio/schemathesis
if "$folder/bin/schemathesis" --version 2>/dev/null | grep -qF "$version"; then
    exit 0
fi
# Debian's, where it is: another one may lack what a virtual environment takes.
python=/usr/bin/python3
[ -x "$python" ] || python=python3
echo "Installing schemathesis $version (half a minute)"
rm -rf "$folder"
"$python" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
