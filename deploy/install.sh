#!/bin/sh
# install.sh PYTHON VENV: makes the virtual environment and installs the locked versions.
# torch comes first and by itself: pip takes a CPU build where one is offered. Everything else is installed
# without following dependencies, because the lock names all of them (and deepbet's GUI toolkit stays out).
set -eu
python=$1 venv=$2
echo "== virtual environment in $venv"
"$python" -m venv "$venv"
echo "== installing torch (large; a minute or more)"
"$venv/bin/pip" install --quiet --disable-pip-version-check "$(grep '^torch==' requirements.lock)"
echo "== installing the other $(grep -c '==' requirements.lock) locked packages"
wanted=$(mktemp)
if [ -e /dev/nvidia0 ]; then  # torch runs on the GPU; OpenVINO is for processors
    grep -v '^openvino==' requirements.lock > "$wanted"
else
    cp requirements.lock "$wanted"
fi
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$wanted"
rm "$wanted"
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
echo "== ready"
