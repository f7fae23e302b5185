#!/usr/bin/env bash
# pyworld 0.3.5, the newest release, builds with the newest setuptools and then cannot be imported beside it.
#
# One expects that a package which pip has built and installed with all it requires can be imported. Its module reads
# its own version through pkg_resources, which setuptools dropped with release 82, and its metadata names no setuptools
# among what it requires. So in a new environment of Python 3.12, which has no setuptools, and beside setuptools 82 and
# newer in any, `import pyworld` raises ModuleNotFoundError; beside 81.0.0 it warns and works. pip's own check is
# content with all three.
# Seen with numpy 2.2.6 and Python 3.11, x86-64 Linux; gcc builds pyworld from its source.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/pip" --disable-pip-version-check)
"${pip[@]}" install --quiet pyworld==0.3.5 numpy==2.2.6
seen=""
for setuptools in none 82.0.0 81.0.0; do
    "${pip[@]}" uninstall --quiet --yes setuptools 2>/dev/null || true
    [ "$setuptools" = none ] || "${pip[@]}" install --quiet "setuptools==$setuptools"
    "${pip[@]}" check >/dev/null
    says=$("$folder/venv/bin/python" -W ignore -c 'import pyworld; print(pyworld.__version__)' 2>&1 | tail -1 || true)
    echo "setuptools $setuptools: $says"
    seen="$seen$says;"
done
missing="ModuleNotFoundError: No module named 'pkg_resources'"
[ "$seen" = "$missing;$missing;0.3.5;" ] || { echo "this has changed" >&2; exit 1; }
