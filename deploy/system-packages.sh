#!/bin/sh
# Installs with apt what pip cannot bring (as root), or names what is missing (as anyone else).
#   system-packages.sh venv PYTHON   what `make demo` needs: a Python >= 3.11 that can make virtual environments
#   system-packages.sh test          what the end-to-end tests need: peers and judges written by others
set -eu

install_or_name() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "== installing system packages: $*"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    else
        echo "== missing system packages: $*"
        echo "   ask the administrator for: apt-get install $*"
        return 1
    fi
}

case "$1" in
venv)
    if ! command -v "$2" >/dev/null; then install_or_name python3 python3-venv; fi
    "$2" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "$("$2" --version) is too old: Python 3.11 or newer is needed. Name another one: make PYTHON=/path/to/python3"
        exit 1
    }
    "$2" -c 'import ensurepip' 2>/dev/null || install_or_name python3-venv
    ;;
test)
    missing=""
    PATH=$PATH:/usr/sbin  # where Debian puts Orthanc, and where an ordinary user does not look
    command -v storescu >/dev/null || missing="$missing dcmtk"
    command -v dciodvfy >/dev/null || missing="$missing dicom3tools"
    command -v Orthanc >/dev/null || missing="$missing orthanc"
    [ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || missing="$missing orthanc-dicomweb"
    [ -z "$missing" ] || install_or_name $missing || echo "   the tests that need them are skipped by name"
    ;;
esac
