#!/bin/sh
# lock.sh VENV: writes the exact versions installed in VENV to requirements.lock.
set -eu
{
    echo "# Exact versions of everything; made by \`make lock\` from the environment that passes the tests."
    "$1/bin/pip" freeze --disable-pip-version-check --exclude-editable | sed 's/^\(torch==[0-9.]*\)+.*/\1/' | grep -vi '^-e '
} > requirements.lock.new
mv requirements.lock.new requirements.lock
